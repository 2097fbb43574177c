// Lets many wait for "something changed" without missing a change and without queueing any.

/** A counter of changes that can be waited on. */
export type Notifier = {
  /** How many changes there were: take it before looking, give it to `wait`. */
  generation(): number;
  notify(): void;
  /** Resolves at the first change after `seen`, at the latest after `ms`, or when `signal` aborts. Never rejects. */
  wait(seen: number, ms: number, signal: AbortSignal): Promise<void>;
};

/** Makes a notifier. */
export const createNotifier = (): Notifier => {
  let generation = 0;
  const waiting = new Set<() => void>();
  return {
    generation: () => generation,
    notify: () => {
      generation += 1;
      for (const wake of [...waiting]) wake();
    },
    wait: (seen, ms, signal) => {
      if (generation !== seen || ms <= 0 || signal.aborted) return Promise.resolve();
      return new Promise((resolve) => {
        const wake = (): void => {
          clearTimeout(timer);
          waiting.delete(wake);
          signal.removeEventListener('abort', wake);
          resolve();
        };
        const timer = setTimeout(wake, ms);
        waiting.add(wake);
        signal.addEventListener('abort', wake, { once: true });
      });
    },
  };
};
