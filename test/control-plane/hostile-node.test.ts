// What a node that is enrolled, and hostile, tries with its own chain; and callers that race each other.
import { createHash } from 'node:crypto';
import { type AuditRecord, batchStatement, encodeRecord, GENESIS } from '@daypass/core/audit';
import { AUDIT_LABEL, signBytes } from '@daypass/core/key';
import { expect, test } from 'vitest';
import { errorOf, startControl } from './fixture.ts';

const hash = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

const record = (seq: number, prev: string, path: string): Uint8Array => {
  const who = { jti: 'j', caller: 'c', principal: 'p', client: 'ci', service: 's', credential_id: '', source: '' };
  const what = { method: 'GET', path, rule: '', result: 'allowed', reason: '', snapshot_version: 1, count: 1 };
  const chain = { seq, prev, id: `d${seq}`, time: 1_700_000_000_000, node: 'node-1' };
  return new TextEncoder().encode(encodeRecord({ kind: 'decision', ...chain, ...who, ...what } as AuditRecord));
};

/** Records that follow each other. */
const chainOf = (firstSeq: number, prev: string, paths: readonly string[]): Uint8Array[] => {
  const records: Uint8Array[] = [];
  for (const [at, path] of paths.entries()) {
    const last = records.at(-1);
    records.push(record(firstSeq + at, last === undefined ? prev : hash(last), path));
  }
  return records;
};

test('a chain that forks behind a gap is refused, and the one that fits is taken', async () => {
  await using control = await startControl();
  const send = async (firstSeq: number, records: readonly Uint8Array[]): Promise<unknown> => {
    const key = control.home.nodes.get('node-1');
    const last = records.at(-1);
    if (key === undefined || last === undefined) throw new Error('nothing to sign');
    const statement = batchStatement('node-1', firstSeq, firstSeq + records.length - 1, hash(last));
    const signature = await signBytes(key, AUDIT_LABEL, statement);
    const batch = { node: 'node-1', firstSeq: BigInt(firstSeq), records: [...records], signature };
    return control.asNode('node-1').audit.ingest(batch);
  };
  const whole = chainOf(1, GENESIS, ['/1', '/2', '/3', '/4']);
  await send(3, whole.slice(2));
  const other = chainOf(1, GENESIS, ['/1', '/forged']);
  const refused = await errorOf(send(1, other));
  expect(refused).toMatchObject({ metadata: expect.any(Headers) });
  expect((refused as { metadata: Headers }).metadata.get('daypass-error-code')).toBe('audit_conflict');
  expect((await control.admin.audit.query({})).events.map(({ path }) => path).sort()).toEqual(['/3', '/4']);
  await send(1, whole.slice(0, 2));
  expect((await control.admin.audit.query({})).events.map(({ path }) => path).sort()).toEqual(['/1', '/2', '/3', '/4']);
});

test('of many that become the default service at once, one does', async () => {
  await using control = await startControl();
  const create = (name: string) =>
    control.admin.services.create({ service: { name, upstream: 'https://a.example', isDefault: true }, wait: {} });
  const results = await Promise.allSettled(Array.from({ length: 12 }, (_, at) => create(`s${at}`)));
  expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  const { services } = await control.admin.services.list({});
  expect(services.filter(({ isDefault }) => isDefault)).toHaveLength(1);
});

test('of many updates with one etag, one is made', async () => {
  await using control = await startControl();
  const service = { name: 'a', upstream: 'https://a.example' };
  const { service: made } = await control.admin.services.create({ service, wait: {} });
  const update = (description: string) =>
    control.admin.services.update({
      service: { ...service, description, etag: made?.etag ?? '' },
      updateMask: { paths: ['description'] },
      wait: {},
    });
  const results = await Promise.allSettled(Array.from({ length: 12 }, (_, at) => update(`d${at}`)));
  expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
});
