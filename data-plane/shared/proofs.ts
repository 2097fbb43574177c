// The proofs that were used on this node, in memory that all its threads share: in order of use, with counts by owner.
import type { KeyOf } from './keyed-hash.ts';
import { createMutex } from './mutex.ts';
import { KEY_WORDS, openTable, tableMemory } from './table.ts';

/** A use that is remembered: `iat` in seconds, the owners that it counts for. */
export type Use = { readonly key: string; readonly iat: number; readonly owners: readonly [string, string] };

/** What is known when a use is judged. */
export type Standing = {
  /** Whether it was used before, or may have been: its `iat` is not above those of uses that were forgotten. */
  readonly isUsed: boolean;
  /** Uses remembered for each of its owners. */
  readonly counts: readonly [number, number];
  readonly size: number;
};

/** The memory. */
export type Proofs = {
  /** Judges a use, and remembers it when `judge` returns true; nothing else happens in between. */
  decide(use: Use, judge: (standing: Standing) => boolean): void;
  size(): number;
  /** Makes good what a thread left that ended while it changed the memory: every proof of before counts as used. */
  recover(slot: number): void;
};

/** Memory of so many proofs. */
export type ProofMemory = {
  readonly proofs: SharedArrayBuffer;
  readonly owners: SharedArrayBuffer;
  /** Of each proof: when it was used (ms), its `iat` (s); at the end what was forgotten. */
  readonly times: SharedArrayBuffer;
  /** Of each proof the slots of its owners, then of each owner its count. */
  readonly links: SharedArrayBuffer;
  readonly lock: SharedArrayBuffer;
};

type Options = {
  readonly max: number;
  /** For how long a use is remembered. */
  readonly keptMs: number;
  /** How far ahead of now an `iat` may be, in seconds. */
  readonly aheadSeconds: number;
  readonly keyOf: KeyOf;
  readonly nowMs: () => number;
};

/** Empty memory. */
export const proofMemory = (max: number): ProofMemory => ({
  proofs: tableMemory(max),
  owners: tableMemory(2 * max),
  times: new SharedArrayBuffer(8 * (2 * max + 4)),
  links: new SharedArrayBuffer(4 * 4 * max),
  lock: new SharedArrayBuffer(4),
});

/** The memory as one thread sees it. */
export function openProofs(memory: ProofMemory, slot: number, options: Options): Proofs {
  const { max, keptMs, aheadSeconds, keyOf, nowMs } = options;
  const proofs = openTable(memory.proofs, max);
  const owners = openTable(memory.owners, 2 * max);
  const times = new Float64Array(memory.times);
  const links = new Int32Array(memory.links);
  const mutex = createMutex(new Int32Array(memory.lock), 0, slot);
  // The highest `iat` forgotten, the highest of all, and the latest use. A clock that was set back must not make a
  // forgotten proof good again.
  const [FORGOTTEN, HIGHEST, LATEST] = [2 * max, 2 * max + 1, 2 * max + 2];
  const countAt = (owner: number): number => 2 * max + owner;
  const keys = [0, 1, 2].map(() => new Int32Array(KEY_WORDS)) as [Int32Array, Int32Array, Int32Array];

  const forgetAll = (): void => {
    proofs.clear();
    owners.clear();
  };
  const release = (owner: number): void => {
    links[countAt(owner)] = (links[countAt(owner)] ?? 0) - 1;
    if ((links[countAt(owner)] ?? 0) <= 0) owners.remove(owner);
  };
  const forget = (now: number): void => {
    const end = now - keptMs;
    if (proofs.size() > 0 && (times[LATEST] ?? 0) <= end) {
      raise(times, FORGOTTEN, times[HIGHEST] ?? 0);
      forgetAll();
    }
    for (let at = proofs.oldest(); at >= 0 && (times[2 * at] ?? 0) <= end; at = proofs.oldest()) {
      raise(times, FORGOTTEN, times[2 * at + 1] ?? 0);
      release(links[2 * at] ?? 0);
      release(links[2 * at + 1] ?? 0);
      proofs.remove(at);
    }
  };
  const countOf = (key: Int32Array): number => {
    const owner = owners.find(key);
    return owner < 0 ? 0 : (links[countAt(owner)] ?? 0);
  };
  const own = (key: Int32Array): number => {
    const found = owners.find(key);
    const owner = found < 0 ? owners.insert(key) : found;
    links[countAt(owner)] = (found < 0 ? 0 : (links[countAt(owner)] ?? 0)) + 1;
    return owner;
  };
  const remember = (iat: number, now: number): void => {
    const at = proofs.insert(keys[0]);
    times[2 * at] = now;
    times[2 * at + 1] = iat;
    links[2 * at] = own(keys[1]);
    links[2 * at + 1] = own(keys[2]);
    raise(times, HIGHEST, iat);
    times[LATEST] = proofs.size() === 1 ? now : Math.max(times[LATEST] ?? 0, now);
  };
  const decide = (iat: number, judge: (standing: Standing) => boolean): void => {
    const now = nowMs();
    forget(now);
    const standing: Standing = {
      isUsed: iat <= (times[FORGOTTEN] ?? 0) || proofs.find(keys[0]) >= 0,
      counts: [countOf(keys[1]), countOf(keys[2])],
      size: proofs.size(),
    };
    if (judge(standing)) remember(iat, now);
  };
  return {
    decide({ key, iat, owners: [token, caller] }, judge) {
      keyOf(key, keys[0]);
      keyOf(token, keys[1]);
      keyOf(caller, keys[2]);
      mutex.lock();
      try {
        decide(iat, judge);
      } finally {
        mutex.unlock();
      }
    },
    size: () => proofs.size(),
    recover(dead) {
      if (!mutex.takeFrom(dead)) return;
      forgetAll();
      raise(times, FORGOTTEN, Math.max(times[HIGHEST] ?? 0, nowMs() / 1000 + aheadSeconds));
      mutex.unlock();
    },
  };
}

function raise(values: Float64Array, at: number, to: number): void {
  values[at] = Math.max(values[at] ?? 0, to);
}
