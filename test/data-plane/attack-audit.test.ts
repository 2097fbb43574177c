// Attempts to get a record twice, a token into a record, or an outsider's noise into the log.
import { expect, test } from 'vitest';
import { realDisk, type SpoolDisk } from '../../data-plane/audit/files.ts';
import { openSpool } from '../../data-plane/audit/spool.ts';
import { createSpoolSink } from '../../data-plane/audit/spool-sink.ts';
import { RequestRecord } from '../../data-plane/record.ts';
import { chainOn, freshFolder, memoryLog } from './audit/records.ts';
import { startFixture } from './fixture.ts';
import { ask, startRecorder } from './recorder.ts';

test('a decision that could not be written at once is in the chain once when it can be', async () => {
  using upstream = await startRecorder();
  await using data = await startFixture({ services: [{ name: 'api', origin: upstream.origin, is_default: true }] });
  const snapshot = await data.publish({ services: [{ name: 'api', origin: upstream.origin, is_default: true }] });
  let isFailing = false;
  const disk: SpoolDisk = {
    ...realDisk,
    writeSync: (fd, bytes) => {
      if (isFailing) throw new Error('no space');
      return realDisk.writeSync(fd, bytes);
    },
  };
  const folder = freshFolder();
  const { log } = memoryLog();
  const spool = openSpool({ folder, node: 'node-1', bytesMax: 64 * 1024 * 1024, disk, now: Date.now, log });
  const sink = createSpoolSink({ spool, strict: false, now: Date.now, newId: () => 'x', snapshotVersion: () => 1 });
  const record = new RequestRecord({ audit: sink, nowMs: Date.now, id: 'slow', remoteAddress: '' });
  record.identify({ asker: 'anonymous', service: 'api', method: 'GET', path: '/a', snapshot });
  record.allow('', '');
  isFailing = true;
  expect(() => record.decideNow()).toThrow();
  expect(() => record.refuse('audit_unavailable', 503, 'api')).toThrow();
  isFailing = false;
  await expect.poll(() => spool.accepting(), { timeout: 5000 }).toBe(true);
  expect(chainOn(folder).map(({ id, kind }) => `${id} ${kind}`)).toEqual(['slow decision', 'slow outcome']);
  sink[Symbol.dispose]();
  spool.close();
});

test('a token in the path, or for a service name, is in no record', async () => {
  using upstream = await startRecorder();
  const services = [{ name: 'api', origin: upstream.origin, secret: 'S3CRET', is_default: true }];
  await using data = await startFixture({ services });
  const token = await data.mint();
  expect((await ask(data.port, `/public/bot${token}/send`, { token })).status).toBe(200);
  expect((await ask(data.port, `/s/${token}/x`, { token })).status).toBe(403);
  expect(JSON.stringify([data.audit.decisions, data.audit.outcomes, data.logs])).not.toContain(token.slice(-40));
  expect(data.audit.decisions[0]?.path).toBe('/public/bot[token]/send');
  expect(upstream.requests()[0]?.target).toBe(`/public/bot${token}/send`);
});

test('outsiders fill no log, not even while nothing can be served', async () => {
  await using data = await startFixture({ services: [], unpublished: true });
  for (let at = 0; at < 5; at += 1) expect((await ask(data.port, '/x')).status).toBe(503);
  expect(data.logs.filter((line) => !line.includes('"level":"debug"'))).toEqual([]);
  expect(data.audit.counted.map(({ reason }) => reason)).toEqual(Array(5).fill('snapshot_missing'));
});
