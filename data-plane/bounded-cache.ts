// A bounded cache in two generations: what is used survives, what is not is dropped without any bookkeeping per entry.

/** Keeps up to twice `entries` values, and up to twice `chars` characters of keys. */
export class BoundedCache<V> {
  readonly #entries: number;
  readonly #chars: number;
  #young = new Map<string, V>();
  #old = new Map<string, V>();
  #youngChars = 0;

  constructor(limits: { readonly entries: number; readonly chars: number }) {
    this.#entries = limits.entries;
    this.#chars = limits.chars;
  }

  get(key: string): V | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old !== undefined) this.set(key, old);
    return old;
  }

  set(key: string, value: V): void {
    if (this.#young.size >= this.#entries || this.#youngChars + key.length > this.#chars) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#youngChars = 0;
    }
    this.#young.set(key, value);
    this.#youngChars += key.length;
  }

  delete(key: string): void {
    this.#young.delete(key);
    this.#old.delete(key);
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }
}
