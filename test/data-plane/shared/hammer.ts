// A thread that takes what it can from memory that several threads share, and says what it was given.
import { parentPort, workerData } from 'node:worker_threads';
import { DEFAULT_LIMITS } from '../../../data-plane/limits.ts';
import { createReplays } from '../../../data-plane/replay.ts';
import { type LimitMemory, openSharedLimits } from '../../../data-plane/shared/limits.ts';
import { createMutex } from '../../../data-plane/shared/mutex.ts';

/** What a thread is to do. */
export type Task = {
  readonly kind: 'count' | 'buckets' | 'proofs' | 'tally' | 'hold';
  readonly slot: number;
  readonly rounds: number;
  readonly memory: LimitMemory;
  readonly words: SharedArrayBuffer;
};

const { kind, slot, rounds, memory, words } = workerData as Task;
const NOW = 1_800_000_000_000;
const shared = openSharedLimits(memory, slot, { ...DEFAULT_LIMITS, maxInFlight: 5 }, () => NOW);
const mutex = createMutex(new Int32Array(words), 0, slot);
const counts = new Int32Array(words);

const tasks: Record<Task['kind'], () => number> = {
  count() {
    for (let round = 0; round < rounds; round += 1) {
      mutex.lock();
      counts[1] = (counts[1] ?? 0) + 1;
      mutex.unlock();
    }
    return rounds;
  },
  buckets() {
    let given = 0;
    const flow = { burst: 1000, perMs: 0.000_001 };
    for (let round = 0; round < rounds; round += 1)
      if (
        shared.buckets.takeAll([
          { key: 'a', flow },
          { key: `own ${round % 7}`, flow: { ...flow, burst: 1e9 } },
        ]) === 0
      )
        given += 1;
    return given;
  },
  proofs() {
    const replays = createReplays(shared.proofs, DEFAULT_LIMITS.proofsMax);
    let given = 0;
    for (let round = 0; round < rounds; round += 1)
      try {
        replays.take({ jkt: 'k', jti: `proof ${round}`, iat: NOW / 1000, token: { jti: 't', caller: 'c' } });
        given += 1;
      } catch {
        // Another thread was first.
      }
    return given;
  },
  tally() {
    let most = 0;
    for (let round = 0; round < rounds; round += 1) {
      if (!shared.inFlight.enter(1)) continue;
      most = Math.max(most, Atomics.add(counts, 1, 1) + 1);
      Atomics.sub(counts, 1, 1);
      shared.inFlight.leave(1);
    }
    return most;
  },
  hold() {
    shared.inFlight.enter(1);
    mutex.lock();
    return 0;
  },
};

parentPort?.postMessage(tasks[kind]());
