// Lets calls that ask the same question at the same time share the answer.

/** Asks by a key. */
export type Ask<T> = (key: string) => Promise<T>;

/**
 * The same question, shared. Whoever comes while it is being asked waits for the next time, which begins after it came:
 * no answer is older than its question. Holds only keys that are being asked.
 */
export const shareAsked = <T>(ask: Ask<T>): Ask<T> => {
  const running = new Map<string, Promise<T>>();
  const next = new Map<string, Promise<T>>();
  const start = (key: string): Promise<T> => {
    next.delete(key);
    const asked = ask(key).finally(() => running.delete(key));
    running.set(key, asked);
    return asked;
  };
  return (key) => {
    const now = running.get(key);
    if (now === undefined) return start(key);
    const known = next.get(key);
    if (known !== undefined) return known;
    const then = now.then(
      () => start(key),
      () => start(key),
    );
    next.set(key, then);
    return then;
  };
};
