// Work that must be done in the end: what fails is tried again, until it succeeds or the process stops.

/** Tries again. */
export type Insist = Disposable & {
  /** Ends after the first try, and never rejects. Of work by one name, only the newest is tried again. */
  run(what: string, work: () => Promise<void>): Promise<void>;
};

const AGAIN_MS = 250;
const AGAIN_MS_MAX = 30_000;

/** `failed` is told of each failure; the pause before the next try doubles. */
export const createInsist = (failed: (what: string, error: unknown) => void, againMs = AGAIN_MS): Insist => {
  const due = new Map<string, NodeJS.Timeout>();
  let ended = false;
  const forget = (what: string): void => {
    clearTimeout(due.get(what));
    due.delete(what);
  };
  const attempt = async (what: string, work: () => Promise<void>, pauseMs: number): Promise<void> => {
    forget(what);
    try {
      await work();
    } catch (error) {
      failed(what, error);
      forget(what);
      if (ended) return;
      const next = Math.min(2 * pauseMs, AGAIN_MS_MAX);
      due.set(what, setTimeout(() => void attempt(what, work, next), pauseMs).unref());
    }
  };
  return {
    run: (what, work) => attempt(what, work, againMs),
    [Symbol.dispose]: () => {
      ended = true;
      for (const what of [...due.keys()]) forget(what);
    },
  };
};
