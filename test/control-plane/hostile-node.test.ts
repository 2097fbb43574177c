// What a node that is enrolled, and hostile, tries with its own chain; and callers that race each other.
import { createHash } from 'node:crypto';
import { type AuditRecord, batchStatement, encodeRecord, GENESIS } from '@daypass/core/audit';
import { AUDIT_LABEL, signBytes } from '@daypass/core/key';
import { signNodeAssertion } from '@daypass/core/node-auth';
import { SnapshotService } from '@daypass/sdk/gen/daypass/v1/snapshot_pb';
import { TokenService } from '@daypass/sdk/gen/daypass/v1/token_pb';
import { expect, test } from 'vitest';
import { createTaken } from '../../control-plane/domain/replay.ts';
import { errorOf, startControl, withBearer } from './fixture.ts';

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

test('an assertion of a node that was overheard cannot be replayed', async () => {
  await using control = await startControl();
  const key = control.home.nodes.get('node-1');
  if (key === undefined) throw new Error('no such node');
  const claims = { node: 'node-1', fleet: control.home.fleet, now: Date.now() / 1000, jti: 'j'.repeat(32) };
  const node = control.client(SnapshotService, withBearer(await signNodeAssertion(claims, key)));
  await node.get({});
  const replayed = await errorOf(node.report({ node: 'node-1', version: 99n }));
  expect((replayed as { metadata: Headers }).metadata.get('daypass-error-code')).toBe('unauthenticated');
});

test('assertions are remembered for as long as they are good, and a node has room for so many', async () => {
  let now = 0;
  const elsewhere = new Set([createHash('sha256').update('9').digest('hex')]);
  const taken = createTaken({ store: { takeOnce: async (key) => !elsewhere.has(key) }, now: () => now, most: 2 });
  const outcome = (node: string, text: string): Promise<string> =>
    taken.take(node, text).then(
      () => 'taken',
      (error: { code: string }) => error.code,
    );
  const outcomes = (...asked: [string, string][]) => Promise.all(asked.map((one) => outcome(...one)));
  expect(await outcomes(['a', '1'], ['a', '1'], ['a', '2'])).toEqual(['taken', 'unauthenticated', 'taken']);
  expect(await outcomes(['a', '3'], ['b', '3'], ['b', '9'])).toEqual(['overloaded', 'taken', 'unauthenticated']);
  now = 75_000;
  expect(await outcome('a', '1')).toBe('unauthenticated');
  now = 150_000;
  expect(await outcomes(['a', '3'], ['a', '1'])).toEqual(['taken', 'taken']);
});

test('a caller that gets the name of a deleted one neither sees nor ends the tokens of that one', async () => {
  await using control = await startControl();
  const service = { name: 'a', upstream: 'https://a.example' };
  await control.admin.services.create({ service, wait: {} });
  const create = async () => {
    const { apiKey } = await control.admin.callers.create({ caller: { name: 'ci', services: ['a'] } });
    return control.client(TokenService, apiKey);
  };
  const tokens = await create();
  const old = await tokens.mint({ service: 'a', allow: ['GET /'] });
  await control.admin.callers.delete({ name: 'ci', wait: {} });
  const heir = await create();
  const own = await heir.mint({ service: 'a', allow: ['GET /'] });
  expect((await heir.list({})).tokens.map(({ jti }) => jti)).toEqual([own.jti]);
  expect(await heir.introspect({ token: old.token })).toMatchObject({ active: false, reason: 'not_found' });
  const refused = await errorOf(heir.revoke({ target: { case: 'jti', value: old.jti }, wait: {} }));
  expect((refused as { metadata: Headers }).metadata.get('daypass-error-code')).toBe('not_found');
  expect((await control.admin.tokens.list({})).tokens).toHaveLength(2);
});
