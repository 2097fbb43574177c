// How a target says that a promise is broken.

/** Throws unless `holds`. */
export function must(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(what);
}
