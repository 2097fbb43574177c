// The uploader against a real AuditService of the test's own: exactly the chain, whatever happens on the way.

import { createHash, generateKeyPairSync, verify } from 'node:crypto';
import { type Client, Code, ConnectError, createClient, createRouterTransport } from '@connectrpc/connect';
import { batchStatement, GENESIS, readChain } from '@daypass/core/audit';
import { AUDIT_LABEL, domainSeparated } from '@daypass/core/key';
import { AuditService, type IngestRequest } from '@daypass/sdk/gen/daypass/v1/audit_pb';
import { expect, onTestFinished, test, vi } from 'vitest';
import { linesOf } from '../../../data-plane/audit/segment.ts';
import { openSpool, type Spool } from '../../../data-plane/audit/spool.ts';
import { createUploader, type Uploader } from '../../../data-plane/audit/uploader.ts';
import { until } from '../../kit/deadline.ts';
import { decision, outcome } from './drafts.ts';
import { freshFolder, memoryLog } from './records.ts';

const keys = generateKeyPairSync('ed25519');
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest();

/** Stores each record once, checks signature and chain like a control plane, and misbehaves when told. */
function fakeControlPlane() {
  const stored: Uint8Array[] = [];
  const seen = { calls: 0, largest: 0, signatures: 0 };
  const mode: { answer: (request: IngestRequest) => void; storeAtMost: number } = {
    answer: () => {},
    storeAtMost: Number.POSITIVE_INFINITY,
  };
  const transport = createRouterTransport(({ service }) => {
    service(AuditService, {
      ingest(request) {
        seen.calls += 1;
        mode.answer(request);
        const { node, signature } = request;
        const records = [...linesOf(new Uint8Array(request.lines))];
        const firstSeq = Number(request.firstSeq);
        const lastHash = createHash('sha256')
          .update(records.at(-1) ?? '')
          .digest('hex');
        const statement = batchStatement(node, firstSeq, firstSeq + records.length - 1, lastHash);
        if (verify(null, domainSeparated(AUDIT_LABEL, statement), keys.publicKey, signature)) seen.signatures += 1;
        seen.largest = Math.max(seen.largest, records.length);
        if (firstSeq > stored.length + 1) throw new ConnectError('a gap', Code.InvalidArgument);
        const taken = records.slice(0, mode.storeAtMost);
        for (const [index, record] of taken.entries()) stored[firstSeq - 1 + index] ??= record;
        return { storedSeq: BigInt(firstSeq + taken.length - 1) };
      },
    });
  });
  const chain = () => readChain(stored, { node: 'node-1', firstSeq: 1, prev: GENESIS }, sha256);
  return { client: createClient(AuditService, transport), chain, seen, mode };
}

type Control = Omit<ReturnType<typeof fakeControlPlane>, 'client'> & {
  readonly client: Pick<Client<typeof AuditService>, 'ingest'>;
};

async function start(folder = freshFolder(), control: Control = fakeControlPlane()) {
  const { log, lines } = memoryLog();
  const spool = openSpool({ folder, node: 'node-1', bytesMax: 64 * 1024 * 1024, now: Date.now, log });
  const jwk = keys.privateKey.export({ format: 'jwk' });
  const key = await crypto.subtle.importKey('jwk', jwk, 'Ed25519', false, ['sign']);
  const uploader = createUploader({ spool, client: control.client, node: 'node-1', key, log, random: () => 0.01 });
  uploader.start();
  const stop = async () => {
    await uploader.stop();
    spool.close();
  };
  onTestFinished(stop);
  return { spool, uploader, lines, control, stop };
}

const uploaded = (spool: Spool) =>
  until('everything is acknowledged', () => spool.usage().acknowledgedSeq === spool.usage().lastSeq);
const inState = (uploader: Uploader, state: string) => until(state, () => uploader.state() === state);

test('an event is at the control plane within 500 ms of its append, signed', async () => {
  const { spool, control } = await start();
  const began = performance.now();
  spool.append([decision('a'), outcome('a')]);
  await until('the event is stored', () => control.chain().length === 2);
  expect(performance.now() - began).toBeLessThan(500);
  expect(control.seen.signatures).toBe(control.seen.calls);
});

test('thousands of records travel in batches of at most 2000, each once, in order', async () => {
  const { spool, control } = await start();
  for (let index = 0; index < 2_000; index++) spool.append([decision(`r${index}`), outcome(`r${index}`)]);
  await uploaded(spool);
  expect(control.chain()).toHaveLength(4_000);
  expect(control.seen.largest).toBeLessThanOrEqual(2_000);
});

test('while the control plane is away everything is kept, and uploaded when it is back', async () => {
  const control = fakeControlPlane();
  control.mode.answer = () => {
    throw new ConnectError('away', Code.Unavailable);
  };
  const { spool, uploader, lines } = await start(freshFolder(), control);
  for (let index = 0; index < 100; index++) spool.append([decision(`r${index}`), outcome(`r${index}`)]);
  await inState(uploader, 'away');
  control.mode.answer = () => {};
  uploader.wake();
  await uploaded(spool);
  expect(control.chain()).toHaveLength(200);
  expect(lines.map(({ message }) => message)).toEqual([
    'the audit cannot be uploaded; it is kept on disk and tried again',
    'the audit is uploaded again',
  ]);
});

test('an answer that is lost after the batch was stored changes nothing', async () => {
  const control = fakeControlPlane();
  let calls = 0;
  const { spool } = await start(freshFolder(), {
    ...control,
    client: {
      async ingest(request, options) {
        const answer = await control.client.ingest(request, options);
        if (++calls % 2 === 1) throw new ConnectError('the connection broke', Code.Unavailable);
        return answer;
      },
    },
  });
  for (let index = 0; index < 1_200; index++) spool.append([decision(`r${index}`), outcome(`r${index}`)]);
  await uploaded(spool);
  expect(control.chain()).toHaveLength(2_400);
});

test('a control plane that flaps and stores parts of batches gets the whole chain', async () => {
  const control = fakeControlPlane();
  control.mode.storeAtMost = 113;
  control.mode.answer = () => {
    if (control.seen.calls % 3 === 1) throw new ConnectError('flap', Code.Unavailable);
  };
  const { spool } = await start(freshFolder(), control);
  for (let index = 0; index < 600; index++) spool.append([decision(`r${index}`), outcome(`r${index}`)]);
  await uploaded(spool);
  expect(control.chain().map(({ record }) => record.seq)).toEqual(Array.from({ length: 1_200 }, (_, at) => at + 1));
});

test('a restarted uploader goes on where the acknowledgement ended', async () => {
  const folder = freshFolder();
  const control = fakeControlPlane();
  const first = await start(folder, control);
  first.spool.append([decision('a'), outcome('a')]);
  await uploaded(first.spool);
  await first.stop();
  const offline = openSpool({
    folder,
    node: 'node-1',
    bytesMax: 64 * 1024 * 1024,
    now: Date.now,
    log: memoryLog().log,
  });
  offline.append([decision('b'), outcome('b')]);
  offline.close();
  const { spool } = await start(folder, control);
  await uploaded(spool);
  expect(control.chain().map(({ record }) => record.id)).toEqual(['a', 'a', 'b', 'b']);
});

test.each([
  Code.InvalidArgument,
  Code.Aborted,
])('a rejection (%i) is an error in the log, does not spin, and keeps the data', async (code) => {
  const waits = vi.spyOn(globalThis, 'setTimeout');
  const control = fakeControlPlane();
  control.mode.answer = () => {
    throw new ConnectError('broken chain', code);
  };
  const { spool, uploader, lines } = await start(freshFolder(), control);
  spool.append([decision('a'), outcome('a')]);
  await inState(uploader, 'rejected');
  for (let index = 0; index < 20; index++) spool.append([decision(`r${index}`), outcome(`r${index}`)]);
  await until('it waits a minute', () => waits.mock.calls.some(([, ms]) => ms === 60_000));
  expect(control.seen.calls).toBe(1);
  expect(lines.filter(({ level }) => level === 'error')).toHaveLength(1);
  control.mode.answer = () => {};
  uploader.wake();
  await uploaded(spool);
  expect(control.chain()).toHaveLength(42);
});

test('a control plane that says it stored nothing is not believed to have it', async () => {
  const control = fakeControlPlane();
  control.mode.storeAtMost = 0;
  const { spool, uploader } = await start(freshFolder(), control);
  spool.append([decision('a'), outcome('a')]);
  await inState(uploader, 'away');
  expect(spool.usage().acknowledgedSeq).toBe(0);
  control.mode.storeAtMost = 500;
  await uploaded(spool);
  expect(control.chain()).toHaveLength(2);
});

test('draining sends what is left at once, and gives up in time when nobody takes it', async () => {
  const { spool, uploader, control } = await start();
  spool.append([decision('a'), outcome('a')]);
  await uploader.drain(5_000);
  expect(control.chain()).toHaveLength(2);
  control.mode.answer = () => {
    throw new ConnectError('away', Code.Unavailable);
  };
  spool.append([decision('b'), outcome('b')]);
  const began = performance.now();
  await uploader.drain(200);
  expect(performance.now() - began).toBeLessThan(2_000);
});

test('an idle uploader asks nothing of the control plane or the disk', async () => {
  const waits = vi.spyOn(globalThis, 'setTimeout');
  const { spool, control } = await start();
  spool.append([decision('a'), outcome('a')]);
  await uploaded(spool);
  const { calls } = control.seen;
  waits.mockClear();
  const read = vi.spyOn(spool, 'read');
  await until('it waits for a record', () => waits.mock.calls.some(([, ms]) => ms === 60_000));
  expect(control.seen.calls).toBe(calls);
  expect(read.mock.calls.length).toBeLessThanOrEqual(2);
});
