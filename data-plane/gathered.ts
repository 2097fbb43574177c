// Bytes that wait, in one piece: however small the parts are that they come in, they take no more room than themselves.

/** Parts put together, up to twice their length while they grow. */
export class Gathered {
  #room: Buffer = NOTHING;
  #length = 0;

  /** Bytes that wait. */
  get length(): number {
    return this.#length;
  }

  add(part: Buffer): void {
    const length = this.#length + part.length;
    if (this.#length === 0) this.#room = part;
    else {
      if (length > this.#room.length) this.#grow(Math.max(LEAST, 2 * length));
      part.copy(this.#room, this.#length);
    }
    this.#length = length;
  }

  /** All that waits, which then no longer does. */
  take(): Buffer {
    const taken = this.#room.length === this.#length ? this.#room : Buffer.from(this.#room.subarray(0, this.#length));
    this.#room = NOTHING;
    this.#length = 0;
    return taken;
  }

  #grow(to: number): void {
    const room = Buffer.allocUnsafeSlow(to);
    this.#room.copy(room, 0, 0, this.#length);
    this.#room = room;
  }
}

const NOTHING = Buffer.alloc(0);
const LEAST = 1024;
