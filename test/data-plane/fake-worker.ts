// A worker that serves nothing: it does what it is asked to as the digest of a snapshot says, and notes it.
import { parentPort, workerData } from 'node:worker_threads';
import type { Whole } from '../../data-plane/snapshot/handover.ts';
import type { FromWorker, ToWorker } from '../../data-plane/workers/asking.ts';

const { slot } = workerData as { slot: number };
const tell = (message: FromWorker): void => parentPort?.postMessage(message);
const note = (message: string): void => tell({ note: 'log', level: 'info', message, fields: {} });
let prepared = '';

parentPort?.on('message', (message: ToWorker) => {
  if ('note' in message) return;
  const { ask, id, question } = message;
  if (ask === 'prepare') {
    const { digest } = (question as Whole).head;
    if (digest.endsWith(`late ${slot}`)) {
      setTimeout(() => {
        prepared = digest;
        note(`prepare ${digest}`);
        tell({ id, answer: undefined });
      }, 50);
      return;
    }
    prepared = digest;
    if (prepared.includes(`end ${slot}`) || prepared === 'overflow') throw new Error('an injected end');
    if (prepared === `hang ${slot}`) return;
    if (prepared === `refuse ${slot}`) {
      tell({ id, failure: { code: 'snapshot_inconsistent', message: 'an injected refusal' } });
      return;
    }
  }
  if (ask === 'listen' && (prepared.includes(`deaf ${slot}`) || prepared.includes('deaf all'))) {
    tell({ id, failure: { code: 'unavailable', message: 'an injected failure' } });
    return;
  }
  if (ask === 'listen' && prepared === 'mute') throw new Error('an injected end');
  note(ask === 'prepare' || ask === 'activate' ? `${ask} ${prepared}` : ask);
  if (ask === 'activate' && (prepared === 'poison' || prepared.includes(`dies ${slot}`)))
    throw new Error('an injected end');
  if (ask === 'activate' && prepared === `stall ${slot}`) return;
  const family = { name: 'a', kind: 'counter', help: '', samples: [['a', 1]] } as const;
  const answers = { listen: { host: '127.0.0.1', port: 4711 }, metrics: [family], close: [family] };
  if (ask === 'listen' && prepared === 'slow') {
    setTimeout(() => {
      note('listens');
      tell({ id, answer: answers.listen });
    }, 50);
    return;
  }
  tell({ id, answer: Reflect.get(answers, ask) });
  if (ask === 'close') parentPort?.close();
});
