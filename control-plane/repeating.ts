// Runs a piece of work again and again, one at a time, until it is disposed of, which waits for the run that is under way.

/** Work that repeats. */
export type Repeating = AsyncDisposable & {
  /** Runs it now, or once more after the run that is under way. Never rejects. */
  now(): Promise<void>;
};

/** Runs `work` every so often; `failed` is told of each failure, and it is tried again the next time. */
export const repeating = (everyMs: number, work: () => Promise<void>, failed: (error: unknown) => void): Repeating => {
  let running: Promise<void> | undefined;
  let next: Promise<void> | undefined;
  const start = (): Promise<void> => {
    next = undefined;
    running = work()
      .catch(failed)
      .finally(() => {
        running = undefined;
      });
    return running;
  };
  const timer = setInterval(() => {
    if (running === undefined) void start();
  }, everyMs);
  return {
    now: () => {
      if (running === undefined) return start();
      next ??= running.then(start);
      return next;
    },
    [Symbol.asyncDispose]: async () => {
      clearInterval(timer);
      await (next ?? running);
    },
  };
};
