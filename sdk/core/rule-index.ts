// Finds the few rules of a long list that a path could fit: a tree by segments.

import type { Segment } from './rule.ts';

/** What may fit a path. Everything that does fit is among it. */
export type Candidates = {
  /** Places in the list, rising. */
  readonly places: readonly number[];
  /** Nodes of the tree that were looked at. */
  readonly visited: number;
};

/** Answers for one list. */
export type RuleIndex = (path: string) => Candidates;

/** Lists up to this length are not worth a tree. */
const MAX_UNINDEXED = 16;

/**
 * An index of a list by the templates of its rules; `undefined` for a rule that has none, which is always a candidate.
 * A path is led through each node at most once, and there are at most twice as many nodes as rules: two rules part at a
 * node of their own, and segments in which all rules below a node agree have none.
 */
export const createIndex = (templates: readonly (readonly Segment[] | undefined)[]): RuleIndex => {
  if (templates.length <= MAX_UNINDEXED) {
    const all: Candidates = { places: [...templates.keys()], visited: 0 };
    return () => all;
  }
  const always: number[] = [];
  const rules: Indexed[] = [];
  for (const [place, segments] of templates.entries()) {
    if (segments === undefined) always.push(place);
    else rules.push({ place, segments });
  }
  const root = makeNode(rules, 0);
  const deepest = depthOf(root);
  return (path) => {
    const walk: Walk = {
      parts: path.slice(1).split('/', deepest + 2),
      found: always.slice(),
      isMixed: false,
      visited: 0,
    };
    visit(root, walk);
    if (walk.isMixed) walk.found.sort((a, b) => a - b);
    return { places: walk.found, visited: walk.visited };
  };
};

type Indexed = { readonly place: number; readonly segments: readonly Segment[] };

/** A few rules are told apart faster one by one. */
const MAX_LEAF = 4;

type Node =
  | { readonly kind: 'leaf'; readonly places: readonly number[] }
  | {
      readonly kind: 'branch';
      /** The segment that tells, counted from 0. */
      readonly depth: number;
      /** Rules that fit whatever comes at this depth. */
      readonly rest: readonly number[];
      /** Rules whose last segment is the one before. */
      readonly ended: readonly number[];
      readonly literals: ReadonlyMap<string, Node>;
      readonly wild: Node | undefined;
    };

const makeNode = (rules: readonly Indexed[], from: number): Node => {
  if (rules.length <= MAX_LEAF) return { kind: 'leaf', places: placesOf(rules) };
  const depth = firstDifference(rules, from);
  const groups = { rest: [] as Indexed[], ended: [] as Indexed[], wild: [] as Indexed[] };
  const literals = new Map<string, Indexed[]>();
  for (const rule of rules) {
    const segment = rule.segments[depth];
    if (segment === undefined) groups.ended.push(rule);
    else if (segment.kind === 'rest') groups.rest.push(rule);
    else if (segment.kind !== 'literal') groups.wild.push(rule);
    else {
      const group = literals.get(segment.text);
      if (group === undefined) literals.set(segment.text, [rule]);
      else group.push(rule);
    }
  }
  return {
    kind: 'branch',
    depth,
    rest: placesOf(groups.rest),
    ended: placesOf(groups.ended),
    literals: new Map([...literals].map(([text, group]) => [text, makeNode(group, depth + 1)])),
    wild: groups.wild.length === 0 ? undefined : makeNode(groups.wild, depth + 1),
  };
};

const placesOf = (rules: readonly Indexed[]): readonly number[] => rules.map(({ place }) => place);

/** The first depth from `from` on at which not all rules go on alike. */
const firstDifference = (rules: readonly Indexed[], from: number): number => {
  const [first] = rules;
  for (let depth = from; ; depth += 1) {
    const sample = first?.segments[depth];
    if (sample === undefined || sample.kind === 'rest') return depth;
    if (!rules.every(({ segments }) => goesOnAlike(sample, segments[depth]))) return depth;
  }
};

const goesOnAlike = (a: Segment, b: Segment | undefined): boolean => {
  if (b === undefined || b.kind === 'rest') return false;
  if (a.kind === 'literal') return b.kind === 'literal' && a.text === b.text;
  return b.kind !== 'literal';
};

const depthOf = (node: Node): number => {
  if (node.kind === 'leaf') return 0;
  let deepest = node.wild === undefined ? node.depth : Math.max(node.depth, depthOf(node.wild));
  for (const child of node.literals.values()) deepest = Math.max(deepest, depthOf(child));
  return deepest;
};

type Walk = {
  /** Segments of the path, as many as the tree asks for and one more. */
  readonly parts: readonly string[];
  readonly found: number[];
  /** Places came from more than one list. */
  isMixed: boolean;
  visited: number;
};

const visit = (node: Node, walk: Walk): void => {
  walk.visited += 1;
  if (node.kind === 'leaf') {
    take(node.places, walk);
    return;
  }
  const part = walk.parts[node.depth];
  if (part === undefined) {
    // A path that ends before this depth cannot fit: what lies above was not told apart.
    if (walk.parts.length === node.depth) take(node.ended, walk);
    return;
  }
  take(node.rest, walk);
  const next = node.literals.get(part);
  if (next !== undefined) visit(next, walk);
  if (node.wild !== undefined && part !== '') visit(node.wild, walk);
};

const take = (places: readonly number[], walk: Walk): void => {
  if (places.length === 0) return;
  if (walk.found.length > 0) walk.isMixed = true;
  for (const place of places) walk.found.push(place);
};
