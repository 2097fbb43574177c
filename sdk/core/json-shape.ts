// The shape of JSON that the conditions of one rule ask for, as a tree; and what follows from it.

import { foldName } from './fold.ts';
import type { Condition, Step } from './rule.ts';
import { isEmptySet, passesAll, type ValueTest, valueSetOf } from './value-set.ts';

/** What is said of one place. A place that nothing is said of has no shape. */
export type JsonShape = {
  /** Something must be there. */
  required: boolean;
  /** Nothing may be there, in any spelling. */
  absent: boolean;
  /** If something is there it is an object, and this is said of its members. */
  members: Map<string, JsonShape> | undefined;
  /** If something is there it is an array of at least one element, and this is said of each. */
  each: JsonShape | undefined;
  /** If something is there it passes all of these. */
  readonly tests: ValueTest[];
};

/** The shape that conditions on the body or on the arguments ask for; `undefined` if there are none. */
export const jsonShapeOf = (conditions: readonly Condition[], root: 'body' | 'arg'): JsonShape | undefined => {
  let shape: JsonShape | undefined;
  for (const { subject, test } of conditions) {
    if (subject.in !== root) continue;
    shape ??= makeShape(true);
    const place = placeAt(shape, subject.steps, test.kind !== 'absent');
    if (test.kind === 'absent') place.absent = true;
    else place.tests.push(test);
  }
  return shape;
};

/** Whether no JSON has this shape. */
export const isImpossible = (shape: JsonShape): boolean => shape.required && (shape.absent || hasNoValue(shape));

/** Whether all JSON of this shape, of which there is some, meets a condition on it. */
export const shapeImplies = (shape: JsonShape, { steps, test }: { steps: readonly Step[]; test: Condition['test'] }) =>
  test.kind === 'absent' ? impliesAbsence(shape, steps) : impliesTest(shape, steps, test);

const makeShape = (required: boolean): JsonShape => ({
  required,
  absent: false,
  members: undefined,
  each: undefined,
  tests: [],
});

// On the way to what must be there, everything must be there. On the way to what must be absent, only the root must.
const placeAt = (root: JsonShape, steps: readonly Step[], required: boolean): JsonShape => {
  let at = root;
  for (const step of steps) {
    if (step.kind === 'each') {
      at.each ??= makeShape(true);
      at = at.each;
      continue;
    }
    at.members ??= new Map();
    const member = at.members.get(step.name) ?? makeShape(false);
    member.required ||= required;
    at.members.set(step.name, member);
    at = member;
  }
  return at;
};

/** Whether nothing that is there fits. */
const hasNoValue = (shape: JsonShape): boolean => {
  const kinds = [shape.members, shape.each, shape.tests.length > 0 || undefined].filter((kind) => kind !== undefined);
  if (kinds.length > 1) return true;
  if (shape.members !== undefined) return [...shape.members.values()].some(isImpossible);
  if (shape.each !== undefined) return isImpossible(shape.each);
  return shape.tests.length > 0 && isEmptySet(valueSetOf(shape.tests, 'json'));
};

const impliesTest = (root: JsonShape, steps: readonly Step[], test: ValueTest): boolean => {
  let at: JsonShape | undefined = root;
  for (const step of steps) {
    at = step.kind === 'each' ? at.each : at.members?.get(step.name);
    if (at?.required !== true) return false;
  }
  return at.tests.length > 0 && passesAll(valueSetOf(at.tests, 'json'), test, 'json');
};

const impliesAbsence = (root: JsonShape, steps: readonly Step[]): boolean => {
  let at = root;
  for (const [index, step] of steps.entries()) {
    if (step.kind === 'each' || at.members === undefined) return false;
    const next = memberIn(at.members, step.name);
    if (next === undefined) return false;
    if (next.shape.absent) return true;
    // Another spelling may be there, which is neither the name nor its absence.
    if (next.name !== step.name || index === steps.length - 1) return false;
    at = next.shape;
  }
  return false;
};

const memberIn = (members: ReadonlyMap<string, JsonShape>, name: string) => {
  const folded = foldName(name);
  for (const [other, shape] of members) if (foldName(other) === folded) return { name: other, shape };
  return undefined;
};
