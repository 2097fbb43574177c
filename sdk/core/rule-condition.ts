// Decides whether a condition holds: its value is there once, of the stated type, and passes. In doubt it does not.

import { isOnSide, readDecimal } from './decimal.ts';
import { foldName } from './fold.ts';
import { queryFamily } from './query-family.ts';
import { type BodyValue, isBodyArray, isBodyObject, NumberText } from './request-body.ts';
import type { RequestDetails } from './request-details.ts';
import type { Condition, Segment, Step, Test, Value } from './rule.ts';

/** Takes steps from a budget; false when it is spent. */
export type Spend = (steps: number) => boolean;

/** A condition on path, query or headers, made ready. */
export type HeadCheck = (path: string, details: RequestDetails) => boolean;

/** A condition on JSON, made ready: on the body or on arguments. */
export type JsonCheck = (root: BodyValue, spend: Spend) => boolean;

/** The check of a condition on path, query or headers; `undefined` for others. */
export const compileHeadCheck = ({ subject, test }: Condition, segments: readonly Segment[]): HeadCheck | undefined => {
  switch (subject.in) {
    case 'path': {
      const index = segments.findIndex((segment) => segment.kind === 'name' && segment.name === subject.name);
      if (index < 0) return () => false;
      return (path) => textPasses(segmentAt(path, index), test);
    }
    case 'query': {
      const family = queryFamily(subject.name);
      return (_path, { query }) => {
        if (query === undefined) return false;
        const pairs = query.get(family) ?? [];
        if (test.kind === 'absent') return pairs.length === 0;
        const [pair] = pairs;
        return pairs.length === 1 && pair?.name === subject.name && textPasses(pair.value, test);
      };
    }
    case 'header':
      return (_path, { header }) => {
        const values = header(subject.name);
        if (test.kind === 'absent') return values.length === 0;
        return values.length === 1 && textPasses(values[0], test);
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
  return (root, spend) => holds(root, steps, 0, test, spend);
};

type Prepared = { readonly kind: 'each' } | { readonly kind: 'member'; readonly name: string; readonly folded: string };

const prepareStep = (step: Step): Prepared =>
  step.kind === 'each' ? step : { kind: 'member', name: step.name, folded: foldName(step.name) };

const holds = (value: BodyValue, steps: readonly Prepared[], at: number, test: Test, spend: Spend): boolean => {
  const step = steps[at];
  if (step === undefined) return spend(1) && jsonPasses(value, test);
  if (step.kind === 'each') {
    return isBodyArray(value) && value.length > 0 && value.every((item) => holds(item, steps, at + 1, test, spend));
  }
  if (!isBodyObject(value) || !isSpeltOneWay(value, step, spend)) return false;
  if (!Object.hasOwn(value, step.name)) return test.kind === 'absent';
  const member = value[step.name];
  return member !== undefined && holds(member, steps, at + 1, test, spend);
};

/** No member is equal to the name but for case. */
const isSpeltOneWay = (
  object: { readonly [member: string]: BodyValue },
  { name, folded }: { readonly name: string; readonly folded: string },
  spend: Spend,
): boolean => {
  const names = Object.keys(object);
  return spend(names.length + 1) && names.every((other) => other === name || foldName(other) !== folded);
};

const jsonPasses = (value: BodyValue, test: Test): boolean => {
  switch (test.kind) {
    case 'absent':
      return false;
    case 'compare': {
      const number = value instanceof NumberText ? readDecimal(value.text) : undefined;
      return isOnSide(number, test.operator, test.bound);
    }
    case 'in': {
      const number = value instanceof NumberText ? readDecimal(value.text) : undefined;
      return test.values.some((literal) => jsonIs(value, number, literal));
    }
    default:
      return test satisfies never;
  }
};

const jsonIs = (value: BodyValue, number: string | undefined, literal: Value): boolean => {
  switch (literal.kind) {
    case 'string':
      return value === literal.value;
    case 'number':
      return number === literal.text;
    case 'boolean':
      return value === literal.value;
    case 'null':
      return value === null;
    default:
      return literal satisfies never;
  }
};

const textPasses = (text: string | undefined, test: Test): boolean => {
  if (text === undefined) return false;
  switch (test.kind) {
    case 'absent':
      return false;
    case 'compare': {
      const number = readDecimal(text);
      return isOnSide(number, test.operator, test.bound);
    }
    case 'in':
      return test.values.some((literal) => textIs(text, literal));
    default:
      return test satisfies never;
  }
};

const textIs = (text: string, literal: Value): boolean => {
  if (literal.kind === 'string') return text === literal.value;
  return literal.kind === 'number' && readDecimal(text) === literal.text;
};

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
