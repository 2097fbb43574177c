// A bounded cache: what was used since it was last looked at gets a second chance, all else makes room.

/** Keeps at most `entries` values; their keys have at most `chars` characters together, with what values are said to take. */
export class BoundedCache<V> {
  readonly #entries: number;
  readonly #chars: number;
  readonly #known = new Map<string, Slot<V>>();
  /** The same slots as a ring, which the hand goes round. */
  readonly #ring: Slot<V>[] = [];
  #hand = 0;
  #charsKept = 0;

  constructor(limits: { readonly entries: number; readonly chars: number }) {
    this.#entries = limits.entries;
    this.#chars = limits.chars;
  }

  get(key: string): V | undefined {
    const slot = this.#known.get(key);
    if (slot === undefined) return undefined;
    slot.isUsed = true;
    return slot.value;
  }

  /** `more`: what the value takes beside its key, in characters. One that is too large for all of the cache is not kept. */
  set(key: string, value: V, more = 0): void {
    this.delete(key);
    const chars = key.length + more;
    if (chars > this.#chars) return;
    while (this.#ring.length > 0 && (this.#ring.length >= this.#entries || this.#charsKept + chars > this.#chars))
      this.#drop(this.#findVictim());
    const slot = { key, value, chars, at: this.#ring.length, isUsed: false };
    this.#ring.push(slot);
    this.#known.set(key, slot);
    this.#charsKept += chars;
  }

  delete(key: string): void {
    const slot = this.#known.get(key);
    if (slot !== undefined) this.#drop(slot);
  }

  get size(): number {
    return this.#ring.length;
  }

  /** The next that was not used since the hand last came by; after a few that were, the next whatever it is. */
  #findVictim(): Slot<V> {
    for (let tries = 0; ; tries += 1) {
      const slot = this.#ring[this.#hand % this.#ring.length];
      if (slot === undefined) throw new Error('a bounded cache is empty');
      this.#hand = slot.at + 1;
      if (!slot.isUsed || tries === TRIES_MAX) return slot;
      slot.isUsed = false;
    }
  }

  // The last one takes the place, which the hand has just passed: it is not looked at before all others.
  #drop(slot: Slot<V>): void {
    this.#known.delete(slot.key);
    this.#charsKept -= slot.chars;
    const last = this.#ring.pop();
    if (last === undefined || last === slot) return;
    last.at = slot.at;
    this.#ring[slot.at] = last;
  }
}

type Slot<V> = { readonly key: string; readonly value: V; readonly chars: number; at: number; isUsed: boolean };

/** What is used is looked at, for one that makes room, this often: a bound on the time that one takes. */
const TRIES_MAX = 64;
