// Reads rule texts.

import { findAmbiguity } from './ambiguity.ts';
import { DaypassError } from './errors.ts';
import { isMethod, NEVER_FORWARDED } from './method.ts';
import { compilePattern } from './pattern.ts';
import {
  MAX_REGEX_CHARS,
  MAX_REGEX_RULES,
  MAX_RULE_CHARS,
  MAX_RULES,
  type Methods,
  type Rule,
  type ScopeRule,
  type Segment,
} from './rule.ts';

/**
 * Reads one rule. Methods may come in any order; `printRule` gives the canonical form.
 * @throws DaypassError `invalid_rule` with the 1-based column and a message that quotes the text
 */
export const parseRule = (text: string): Rule => {
  if (text.length > MAX_RULE_CHARS) throw wrong(text, MAX_RULE_CHARS, `it is longer than ${MAX_RULE_CHARS} characters`);
  const strange = text.search(/[^ -~]/);
  if (strange >= 0) throw wrong(text, strange, 'only visible ASCII characters and single spaces may stand in a rule');
  refuseLaterForms(text);
  if (text.startsWith('scope:')) return parseScope(text);
  const space = text.indexOf(' ');
  if (space < 0) throw wrong(text, text.length, 'a method, one space and a path are needed, as in GET /items/{id}');
  const methods = parseMethods(text, space);
  return text[space + 1] === '~'
    ? { kind: 'regex', methods, pattern: parsePattern(text, space + 2) }
    : { kind: 'template', methods, segments: parseTemplate(text, space + 1) };
};

/**
 * Reads a list of rules, of which at most 64 may be `~` rules.
 * @throws DaypassError `invalid_rule`
 */
export const parseRules = (texts: readonly string[]): readonly Rule[] => {
  if (texts.length > MAX_RULES) throw new DaypassError('invalid_rule', `there are more than ${MAX_RULES} rules`);
  let regexes = 0;
  return texts.map((text) => {
    const rule = parseRule(text);
    if (rule.kind === 'regex') regexes += 1;
    if (regexes > MAX_REGEX_RULES) throw wrong(text, 0, `there are more than ${MAX_REGEX_RULES} rules with ~`);
    return rule;
  });
};

const LATER_FORMS = [
  { prefix: 'op:', name: 'op:' },
  { prefix: 'graphql ', name: 'graphql' },
  { prefix: 'mcp ', name: 'mcp' },
] as const;

// Forms of the language that this version does not have: said plainly, so that nobody takes them for a mistake.
const refuseLaterForms = (text: string): void => {
  const later = LATER_FORMS.find(({ prefix }) => text.startsWith(prefix));
  if (later !== undefined) throw wrong(text, 0, `this version has no ${later.name} rules`);
  const where = text.indexOf(' where ');
  if (where >= 0) throw wrong(text, where + 1, 'this version has no where conditions');
};

const SCOPE_NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/;

const parseScope = (text: string): ScopeRule => {
  const name = text.slice('scope:'.length);
  if (!SCOPE_NAME.test(name)) {
    throw wrong(text, 'scope:'.length, 'a scope name is 1 to 64 letters, digits, dots, dashes and underscores');
  }
  return { kind: 'scope', name };
};

const parseMethods = (text: string, end: number): Methods => {
  const list = text.slice(0, end);
  if (list === '*') return '*';
  const methods = new Set<string>();
  let column = 0;
  for (const method of list.split(',')) {
    if (!isMethod(method)) throw wrong(text, column, 'a method in upper case is needed, or * alone');
    if (NEVER_FORWARDED.has(method)) throw wrong(text, column, `${method} is never forwarded`);
    methods.add(method);
    column += method.length + 1;
  }
  return [...methods].sort();
};

const parsePattern = (text: string, start: number): string => {
  const pattern = text.slice(start);
  if (pattern === '') throw wrong(text, start, 'a pattern is missing');
  if (pattern.includes(' ')) throw wrong(text, text.indexOf(' ', start), 'no path has a space');
  if (pattern.length > MAX_REGEX_CHARS) {
    throw wrong(text, start + MAX_REGEX_CHARS, `a pattern has at most ${MAX_REGEX_CHARS} characters`);
  }
  try {
    compilePattern(pattern);
  } catch (cause) {
    throw wrong(text, start, cause instanceof Error ? cause.message : 'not a pattern');
  }
  return pattern;
};

const parseTemplate = (text: string, start: number): readonly Segment[] => {
  if (text[start] !== '/') throw wrong(text, start, 'the path must start with a slash');
  const names = new Set<string>();
  const segments: Segment[] = [];
  let column = start + 1;
  const parts = text.slice(column).split('/');
  for (const [index, part] of parts.entries()) {
    segments.push(parseSegment(text, column, part, index === parts.length - 1, names));
    column += part.length + 1;
  }
  return segments;
};

const NAME = /^\{([A-Za-z_][A-Za-z0-9_]{0,63})\}$/;

const parseSegment = (text: string, column: number, part: string, last: boolean, names: Set<string>): Segment => {
  if (part === '*') return { kind: 'one' };
  if (part === '**') {
    if (!last) throw wrong(text, column, '** may only be the last segment');
    return { kind: 'rest' };
  }
  if (part.includes('{') || part.includes('}')) return parseName(text, column, part, names);
  if (part.includes('*')) throw wrong(text, column, '* and ** must be whole segments');
  if (part === '' && last) return { kind: 'literal', text: part };
  refuseUnmatchable(text, column, part);
  return { kind: 'literal', text: part };
};

const parseName = (text: string, column: number, part: string, names: Set<string>): Segment => {
  const name = NAME.exec(part)?.[1];
  if (name === undefined) throw wrong(text, column, '{name} must be a whole segment, its name letters, digits and _');
  if (names.has(name)) throw wrong(text, column, `{${name}} occurs twice`);
  names.add(name);
  return { kind: 'name', name };
};

// A literal that no request target may hold would look like a grant and never be one.
const refuseUnmatchable = (text: string, column: number, part: string): void => {
  if (part === '') throw wrong(text, column, 'no path has an empty segment');
  const ambiguity = findAmbiguity(`/${part}`, true);
  if (ambiguity !== undefined) throw wrong(text, column + ambiguity.index - 1, `no path may have ${ambiguity.reason}`);
};

const wrong = (text: string, index: number, why: string): DaypassError => {
  const shown = JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text);
  return new DaypassError('invalid_rule', `the rule ${shown} is wrong at column ${index + 1}: ${why}`, {
    column: index + 1,
  });
};
