// Bounds how much of whole snapshots is on its way to nodes: each is held until its node has taken it.

/** Whole snapshots on their way. */
export type WholeSnapshots = {
  /** Room for one until it is disposed; undefined: there is none now, and `freed` is called when there may be. */
  enter(node: string, bytes: number): Disposable | undefined;
};

/** In bytes of entries; one goes in any case. */
const BYTES_MAX = 512 * 1024 * 1024;
/** One that was lost on the way may not be known for lost yet. */
const NODE_MAX = 2;
/** A node that takes longer is not waited for by others. */
const LONGEST_MS = 30_000;

/** Makes the bound. */
export const createWholeSnapshots = (freed: () => void, longestMs = LONGEST_MS): WholeSnapshots => {
  const nodes = new Map<string, number>();
  let held = 0;
  let waited = false;
  const wake = (): void => {
    if (waited) freed();
    waited = false;
  };
  return {
    enter: (node, bytes) => {
      const own = nodes.get(node) ?? 0;
      if (own >= NODE_MAX || (held > 0 && held + bytes > BYTES_MAX)) {
        waited = true;
        return undefined;
      }
      nodes.set(node, own + 1);
      held += bytes;
      let left = bytes;
      const release = (): void => {
        held -= left;
        left = 0;
        wake();
      };
      const timer = setTimeout(release, longestMs);
      return {
        [Symbol.dispose]: () => {
          clearTimeout(timer);
          const others = (nodes.get(node) ?? 1) - 1;
          if (others === 0) nodes.delete(node);
          else nodes.set(node, others);
          release();
        },
      };
    },
  };
};
