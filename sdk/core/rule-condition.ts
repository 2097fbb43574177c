// Decides whether a condition holds: its value is there once, of the stated type, and passes. In doubt it does not.

import { isOnSide, readDecimal } from './decimal.ts';
import { foldCost, foldName } from './fold.ts';
import { queryFamily } from './query-family.ts';
import {
  type BodyObject,
  type BodyValue,
  isBodyArray,
  isBodyObject,
  type JsonBody,
  NumberText,
} from './request-body.ts';
import type { RequestDetails } from './request-details.ts';
import type { Condition, Segment, Step, Test } from './rule.ts';

/** A condition on path, query or headers, made ready. */
export type HeadCheck = (path: string, details: RequestDetails) => boolean;

/** A condition on JSON, made ready: on the body or on arguments in it. Takes its steps from the body's budget. */
export type JsonCheck = (root: BodyValue, body: JsonBody) => boolean;

/** The check of a condition on path, query or headers; `undefined` for others. */
export const compileHeadCheck = ({ subject, test }: Condition, segments: readonly Segment[]): HeadCheck | undefined => {
  const passes = textTest(test);
  switch (subject.in) {
    case 'path': {
      const index = segments.findIndex((segment) => segment.kind === 'name' && segment.name === subject.name);
      if (index < 0) return () => false;
      return (path) => passes(segmentAt(path, index));
    }
    case 'query': {
      const family = queryFamily(subject.name);
      return (_path, { query }) => {
        if (query === undefined) return false;
        const pairs = query.get(family) ?? [];
        if (test.kind === 'absent') return pairs.length === 0;
        const [pair] = pairs;
        return pairs.length === 1 && pair?.name === subject.name && passes(pair.value);
      };
    }
    case 'header':
      return (_path, { header }) => {
        const values = header(subject.name);
        if (test.kind === 'absent') return values.length === 0;
        return values.length === 1 && passes(values[0]);
      };
    case 'body':
    case 'arg':
      return undefined;
    default:
      return subject satisfies never;
  }
};

/** The check of a condition on a body or on arguments; `undefined` for others. */
export const compileJsonCheck = ({ subject, test }: Condition): JsonCheck | undefined => {
  if (!('steps' in subject)) return undefined;
  const steps = subject.steps.map(prepareStep);
  // The parser lets none through: what it would mean is not said.
  if (test.kind === 'absent' && steps.some(({ kind }) => kind === 'each')) return () => false;
  const passes = jsonTest(test);
  return (root, body) => holds(root, { steps, isAbsent: test.kind === 'absent', passes, body }, 0);
};

type Prepared = { readonly kind: 'each' } | { readonly kind: 'member'; readonly name: string; readonly folded: string };

const prepareStep = (step: Step): Prepared =>
  step.kind === 'each' ? step : { kind: 'member', name: step.name, folded: foldName(step.name) };

type Asked = {
  readonly steps: readonly Prepared[];
  readonly isAbsent: boolean;
  readonly passes: (value: BodyValue) => boolean;
  readonly body: JsonBody;
};

const holds = (value: BodyValue, asked: Asked, at: number): boolean => {
  const step = asked.steps[at];
  if (step === undefined) return asked.body.spend(1) && asked.passes(value);
  if (step.kind === 'each')
    return isBodyArray(value) && value.length > 0 && value.every((item) => holds(item, asked, at + 1));
  if (!isBodyObject(value) || !isSpeltOneWay(value, step, asked.body)) return false;
  if (!Object.hasOwn(value, step.name)) return asked.isAbsent;
  const member = value[step.name];
  return member !== undefined && holds(member, asked, at + 1);
};

/** No member is equal to the name but for case. */
const isSpeltOneWay = (
  object: BodyObject,
  { name, folded }: { readonly name: string; readonly folded: string },
  body: JsonBody,
): boolean => {
  const spellings = body.readOnce(object, readSpellings);
  if (!body.spend(1) || spellings === undefined) return false;
  const only = spellings.get(folded);
  return only === undefined || only === name;
};

/** The member that folds to a name, `null` if there are several. `undefined` if that takes too long to tell. */
const readSpellings = (object: BodyObject, body: JsonBody): ReadonlyMap<string, string | null> | undefined => {
  const spellings = new Map<string, string | null>();
  if (!body.spend(4)) return undefined;
  for (const name of Object.keys(object)) {
    if (!body.spend(foldCost(name))) return undefined;
    const folded = foldName(name);
    spellings.set(folded, spellings.has(folded) ? null : name);
  }
  return spellings;
};

const jsonTest = (test: Test): ((value: BodyValue) => boolean) => {
  switch (test.kind) {
    case 'absent':
      return () => false;
    case 'compare':
      return (value) => isOnSide(decimalOf(value), test.operator, test.bound);
    case 'in': {
      const { texts, numbers } = sortLiterals(test);
      const flags = new Set(test.values.flatMap((literal) => (literal.kind === 'boolean' ? [literal.value] : [])));
      const hasNull = test.values.some((literal) => literal.kind === 'null');
      return (value) => {
        if (typeof value === 'string') return texts.has(value);
        if (typeof value === 'boolean') return flags.has(value);
        if (value === null) return hasNull;
        const number = numbers.size === 0 ? undefined : decimalOf(value);
        return number !== undefined && numbers.has(number);
      };
    }
    default:
      return test satisfies never;
  }
};

const decimalOf = (value: BodyValue): string | undefined =>
  value instanceof NumberText ? readDecimal(value.text) : undefined;

const textTest = (test: Test): ((text: string | undefined) => boolean) => {
  switch (test.kind) {
    case 'absent':
      return () => false;
    case 'compare':
      return (text) => text !== undefined && isOnSide(readDecimal(text), test.operator, test.bound);
    case 'in': {
      const { texts, numbers } = sortLiterals(test);
      const longest = Math.max(0, ...[...texts].map((text) => text.length));
      return (text) => {
        if (text === undefined) return false;
        // A text is read whole to be looked up, each time anew.
        if (text.length <= longest && texts.has(text)) return true;
        const number = numbers.size === 0 ? undefined : readDecimal(text);
        return number !== undefined && numbers.has(number);
      };
    }
    default:
      return test satisfies never;
  }
};

// A list of a thousand literals is asked as fast as one of two.
const sortLiterals = ({ values }: Extract<Test, { kind: 'in' }>) => ({
  texts: new Set(values.flatMap((literal) => (literal.kind === 'string' ? [literal.value] : []))),
  numbers: new Set(values.flatMap((literal) => (literal.kind === 'number' ? [literal.text] : []))),
});

const segmentAt = (path: string, index: number): string | undefined => {
  let start = 1;
  for (let skipped = 0; skipped < index; skipped += 1) {
    const slash = path.indexOf('/', start);
    if (slash < 0) return undefined;
    start = slash + 1;
  }
  const end = path.indexOf('/', start);
  return end < 0 ? path.slice(start) : path.slice(start, end);
};
