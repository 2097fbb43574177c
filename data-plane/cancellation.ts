// Cancellation: the one way in which a request learns that nobody waits for its answer any more.

/** Cancelled at most once; lighter than an AbortController, of which a request would need one. */
export type Cancellation = {
  readonly reason: unknown;
  /** Called at the cancellation, if that is still to come. */
  onCancel: ((reason: unknown) => void) | undefined;
  cancel(reason: unknown): void;
  /** Throws the reason, if there is one. */
  check(): void;
};

/** Returns one that is not cancelled. */
export function createCancellation(): Cancellation {
  let reason: unknown;
  return {
    get reason() {
      return reason;
    },
    onCancel: undefined,
    cancel(why) {
      if (reason !== undefined) return;
      reason = why;
      this.onCancel?.(why);
    },
    check() {
      if (reason !== undefined) throw reason;
    },
  };
}

/** The client closed its connection before it had its answer. */
export class ClientGone extends Error {
  override readonly name = 'ClientGone';
}
