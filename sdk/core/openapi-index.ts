// Finds the paths of a document that another path also stands for, or that lie below it, without comparing all with all.

import type { ApiPath, Shape } from './openapi-path.ts';

/** Paths by their segments; each node holds the ids of the operations whose path ends there. */
export type PathIndex = { readonly ids: string[]; readonly children: Map<Shape, PathIndex> };

/** Puts paths of one method together. */
export const indexPaths = (entries: Iterable<{ readonly id: string; readonly path: ApiPath }>): PathIndex => {
  const root = emptyNode();
  for (const { id, path } of entries) {
    let node = root;
    for (const shape of path.shapes) {
      const child = node.children.get(shape) ?? emptyNode();
      node.children.set(shape, child);
      node = child;
    }
    node.ids.push(id);
  }
  return root;
};

const emptyNode = (): PathIndex => ({ ids: [], children: new Map() });

/** Paths all of whose requests are also those of `path`, itself among them. */
export function* takenIn(index: PathIndex, path: ApiPath, at = 0): Generator<string> {
  const shape = path.shapes[at];
  if (shape === undefined) yield* index.ids;
  else if (shape === true) {
    // A parameter is never empty.
    for (const [other, child] of index.children) if (other !== '') yield* takenIn(child, path, at + 1);
  } else if (shape !== false) {
    const child = index.children.get(shape);
    if (child !== undefined) yield* takenIn(child, path, at + 1);
  }
}

/** Paths that may lie below the last segment of `path`; a segment that is no plain text may be anything here. */
export function* liesBelow(index: PathIndex, path: ApiPath, at = 0): Generator<string> {
  if (at >= path.shapes.length - 1) {
    for (const child of index.children.values()) yield* allBelow(child);
    return;
  }
  const shape = path.shapes[at];
  const children =
    typeof shape === 'string'
      ? [shape, true, false].flatMap((one) => index.children.get(one) ?? [])
      : index.children.values();
  for (const child of children) yield* liesBelow(child, path, at + 1);
}

function* allBelow(index: PathIndex): Generator<string> {
  for (const child of index.children.values()) {
    yield* child.ids;
    yield* allBelow(child);
  }
}
