// A thread that waits for a lock, and says when it has it.
import { parentPort, workerData } from 'node:worker_threads';
import { createMutex } from '../../../data-plane/shared/mutex.ts';

const { slot, words } = workerData as { readonly slot: number; readonly words: SharedArrayBuffer };
const mutex = createMutex(new Int32Array(words), 0, slot);

parentPort?.postMessage('waits');
mutex.lock();
mutex.unlock();
parentPort?.postMessage('had it');
