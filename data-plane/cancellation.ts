// Cancellation: the one way in which a request learns that nobody waits for its answer any more.

/** What wants to know of a cancellation. */
export type Cancellable = { cancelled(reason: unknown): void };

/** Cancelled at most once; lighter than an AbortController, of which every request would need one. */
export class Cancellation {
  #reason: unknown;
  #follower: Cancellable | undefined;

  /** Tells one follower, in place of the one before it, if the cancellation is still to come. */
  follow(follower: Cancellable | undefined): void {
    this.#follower = follower;
  }

  cancel(reason: unknown): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    this.#follower?.cancelled(reason);
  }

  /** Throws the reason, if there is one. */
  check(): void {
    if (this.#reason !== undefined) throw this.#reason;
  }
}

/** The client closed its connection before it had its answer. */
export class ClientGone extends Error {
  override readonly name = 'ClientGone';
}
