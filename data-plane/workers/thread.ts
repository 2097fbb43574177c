// A worker as the main thread sees it: asked, told, ended.
import type { Worker } from 'node:worker_threads';
import type { Draft } from '../audit/sink.ts';
import type { Log } from '../log.ts';
import { type FromWorker, failureOf, type Kind, type Questions, type ToWorker } from './asking.ts';

/** A running worker. */
export type WorkerThread = {
  readonly slot: number;
  /** Rejects with the worker's failure, with `WorkerGone`, or when there is no answer in time. */
  ask<K extends Kind>(ask: K, question: Questions[K]['question'], withinMs: number): Promise<Questions[K]['answer']>;
  /** The spool was mended, or a file of it is gone. */
  tellOfSpool(): void;
  /** Ends it at once. */
  kill(): void;
  /** Resolves when it has ended, with what ended it. */
  readonly ended: Promise<unknown>;
  /** Records that it could not write, and that it gave up at its end. */
  givenUp(): readonly Draft[];
};

/** The worker has ended. */
export class WorkerGone extends Error {
  override readonly name = 'WorkerGone';
}

type Deps = {
  readonly slot: number;
  readonly log: Log;
  /** It has appended a record that the main thread wanted to hear of. */
  readonly appended: () => void;
  /** It wants to be given the keys that open seals again. */
  readonly keyless: () => void;
};

type Waiting = { readonly resolve: (answer: unknown) => void; readonly reject: (error: unknown) => void };

/** Takes charge of a worker that was just started. */
export function wrapWorker(worker: Worker, { slot, log, appended, keyless }: Deps): WorkerThread {
  const waiting = new Map<number, Waiting>();
  const ended = Promise.withResolvers<unknown>();
  let asked = 0;
  let givenUp: readonly Draft[] = [];
  let gone: WorkerGone | undefined;
  let reason: unknown = new WorkerGone('the worker has ended');
  worker.on('error', (error) => {
    reason = error;
  });
  worker.on('exit', () => {
    gone = new WorkerGone('the worker has ended', { cause: reason });
    for (const { reject } of waiting.values()) reject(gone);
    waiting.clear();
    // Its last answers come at the same time: whoever asked has them first.
    setImmediate(ended.resolve, reason);
  });
  worker.on('message', (message: FromWorker) => {
    if ('note' in message) {
      if (message.note === 'appended') appended();
      else if (message.note === 'keyless') keyless();
      else if (message.note === 'unwritten') givenUp = message.drafts;
      else log[message.level](message.message, { ...message.fields, worker: slot });
      return;
    }
    const asker = waiting.get(message.id);
    waiting.delete(message.id);
    if ('failure' in message) asker?.reject(failureOf(message.failure));
    else asker?.resolve(message.answer);
  });
  const tell = (message: ToWorker): void => worker.postMessage(message);
  return {
    slot,
    ask(ask, question, withinMs) {
      if (gone !== undefined) return Promise.reject(gone);
      const { promise, resolve, reject } = Promise.withResolvers<never>();
      asked += 1;
      const id = asked;
      const late = setTimeout(() => {
        waiting.delete(id);
        reject(new Error(`The worker did not answer "${ask}" in time`));
      }, withinMs);
      waiting.set(id, { resolve: (answer) => resolve(answer as never), reject });
      tell({ ask, id, question });
      return promise.finally(() => clearTimeout(late));
    },
    tellOfSpool: () => tell({ note: 'spool' }),
    kill: () => void worker.terminate(),
    ended: ended.promise,
    givenUp: () => givenUp,
  };
}
