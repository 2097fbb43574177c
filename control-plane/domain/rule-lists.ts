// Rules asked by what the audit keeps of a request, its method and path: which surely allow it, and which might.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { RequestDetails } from '@daypass/core/request-details';
import type { Condition, Rule } from '@daypass/core/rule';
import { type CompiledRules, compileRules, matchRules } from '@daypass/core/rule-match';
import { parseRule } from '@daypass/core/rule-parse';
import { printRule } from '@daypass/core/rule-print';

/** Rules made ready. Named scopes among them, and operations, allow nothing here. */
export type RuleLists = {
  /** The text of a rule that allows every request of this method and path. */
  surely(method: string, path: string): string | undefined;
  /** The text of a rule that allows some request of this method and path. */
  maybe(method: string, path: string): string | undefined;
};

/** Compiled at once: 5 ms or so. */
const RULES_AT_ONCE = 500;

/** Makes canonical texts ready; the loop gets its turn in between. */
export const readRuleLists = async (texts: readonly string[]): Promise<RuleLists> => {
  const sure: CompiledRules[] = [];
  const open: CompiledRules[] = [];
  const asWritten = new Map<string, string>();
  for (let at = 0; at < texts.length; at += RULES_AT_ONCE) {
    if (at > 0) await nextTurn();
    const rules = texts.slice(at, at + RULES_AT_ONCE).map((text) => ({ text, rule: parseRule(text) }));
    sure.push(compileRules(rules.flatMap(({ rule }) => (isSure(rule) ? [rule] : []))));
    open.push(
      compileRules(
        rules.flatMap(({ text, rule }) => {
          const widened = widen(rule);
          if (widened !== undefined) asWritten.set(printRule(widened), text);
          return widened === undefined ? [] : [widened];
        }),
      ),
    );
  }
  return {
    surely: (method, path) => first(sure, method, path),
    maybe: (method, path) => {
      const found = first(open, method, path);
      return found === undefined ? undefined : (asWritten.get(found) ?? found);
    },
  };
};

/** No rule that is asked here looks at anything in it. */
const NO_DETAILS = new RequestDetails({ query: undefined, header: () => [] });

const first = (lists: readonly CompiledRules[], method: string, path: string): string | undefined => {
  for (const list of lists) {
    const found = matchRules(list, method, path, undefined, NO_DETAILS);
    if (found !== undefined) return found;
  }
  return undefined;
};

const isOfPath = ({ subject }: Condition): boolean => subject.in === 'path';

const isSure = (rule: Rule): boolean =>
  rule.kind === 'regex' || (rule.kind === 'template' && rule.conditions.every(isOfPath));

/** The rule without all that only a query, a header or a body can decide. */
const widen = (rule: Rule): Rule | undefined => {
  switch (rule.kind) {
    case 'regex':
      return rule;
    case 'template':
      return { ...rule, conditions: rule.conditions.filter(isOfPath) };
    case 'graphql':
    case 'mcp': {
      const { segments } = rule;
      return { kind: 'template', methods: ['POST'], segments, conditions: rule.conditions.filter(isOfPath) };
    }
    case 'scope':
    case 'op':
      return undefined;
    default:
      return rule satisfies never;
  }
};
