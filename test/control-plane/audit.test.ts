// The audit: what a node may send, that it is stored once, and that questions and followers see it.
import { Code, ConnectError } from '@connectrpc/connect';
import { type AuditRecord, encodeRecord } from '@daypass/core/audit';
import { type AuditEvent, AuditKind, Outcome } from '@daypass/sdk/gen/daypass/v1/audit_pb';
import { expect, test } from 'vitest';
import { errorOf, type Running, startControl, until } from './fixture.ts';
import { createNode, decision, outcome } from './recording-node.ts';

const requests = async (control: Running, filter = {}): Promise<AuditEvent[]> =>
  (await control.admin.audit.query({ filter })).events;

test('a decision and its outcome are one event, in one batch or in two', async () => {
  await using control = await startControl();
  const node = createNode(control);
  const { storedSeq } = await node.send(decision('d1'), outcome('d1'), decision('d2'));
  expect(storedSeq).toBe(3n);
  expect((await requests(control)).map(({ decisionId, outcome, status }) => [decisionId, outcome, status])).toEqual([
    ['d2', Outcome.PENDING, 0],
    ['d1', Outcome.ALLOWED, 200],
  ]);
  await node.send(outcome('d2', { result: 'failed', reason: 'upstream_timeout', status: 504 }));
  const [second, first] = await requests(control);
  expect(second).toMatchObject({ decisionId: 'd2', outcome: Outcome.FAILED, reason: 'upstream_timeout', status: 504 });
  expect(first).toMatchObject({
    kind: AuditKind.REQUEST,
    node: 'node-1',
    seq: 1n,
    jti: 'jti-1',
    client: 'ci',
    principal: 'me',
    caller: 'bot',
    service: 'github',
    method: 'GET',
    path: '/repos',
    rule: 'GET /repos',
    requestBytes: 1n,
    responseBytes: 2n,
    latencyMicros: 3n,
    snapshotVersion: 3n,
    count: 1,
  });
});

test('a batch that is sent again, whole or in part, changes nothing', async () => {
  await using control = await startControl();
  const node = createNode(control);
  const { sent } = await node.send(decision('d1'), outcome('d1'));
  const { audit } = control.asNode('node-1');
  expect((await audit.ingest(sent)).storedSeq).toBe(2n);
  const more = [...sent.records, node.write(decision('d2'))];
  expect((await audit.ingest(await node.batch(more, 1))).storedSeq).toBe(3n);
  expect((await requests(control)).map(({ decisionId }) => decisionId)).toEqual(['d2', 'd1']);
});

test('a gap is stored as it is, and shows', async () => {
  await using control = await startControl();
  await createNode(control).send(decision('d1'));
  const { storedSeq } = await createNode(control, 'node-1', 10).send(decision('d10'));
  expect(storedSeq).toBe(10n);
  expect((await requests(control)).map(({ seq }) => seq)).toEqual([10n, 1n]);
});

const refusal = async (work: Promise<unknown>) => {
  const error = ConnectError.from(await errorOf(work));
  return [error.code, error.metadata.get('daypass-error-field')];
};

test('a broken chain, a foreign signature, and another form of record are refused and leave nothing', async () => {
  await using control = await startControl();
  const { audit } = control.asNode('node-1');
  const node = createNode(control);
  const good = [node.write(decision('d1')), node.write(outcome('d1')), node.write(decision('d2'))];
  const [first, second, third] = good;
  if (first === undefined || second === undefined || third === undefined) throw new Error('no records');
  const signed = await node.batch(good, 1);
  const text = (bytes: Uint8Array, from: string, to: string) =>
    new TextEncoder().encode(new TextDecoder().decode(bytes).replace(from, to));
  const attacks: Record<string, [object, Code, string]> = {
    'signed by another node': [await node.batch(good, 1, 'node-2'), Code.InvalidArgument, 'signature'],
    'a changed record': [
      { ...signed, records: [text(first, 'GET', 'PUT'), second, third] },
      Code.InvalidArgument,
      'records',
    ],
    'a changed last record': [
      { ...signed, records: [first, second, text(third, 'GET', 'PUT')] },
      Code.InvalidArgument,
      'signature',
    ],
    'a record left out': [await node.batch([first, third], 1), Code.InvalidArgument, 'records'],
    'records in another order': [await node.batch([second, first, third], 1), Code.InvalidArgument, 'records'],
    'another first number': [await node.batch(good, 2), Code.InvalidArgument, 'records'],
    'a first number that nobody reaches': [{ ...signed, firstSeq: 2n ** 63n }, Code.InvalidArgument, 'first_seq'],
    'a record with more members': [
      await node.batch([text(first, '"kind"', '"x":1,"kind"')], 1),
      Code.InvalidArgument,
      'records',
    ],
    'a record in another spelling': [
      await node.batch([text(first, '"GET"', '"\\u0047ET"')], 1),
      Code.InvalidArgument,
      'records',
    ],
    'a record that is no JSON': [
      await node.batch([new TextEncoder().encode('{"')], 1),
      Code.InvalidArgument,
      'records',
    ],
    'a chain that does not begin': [await createChained(node), Code.InvalidArgument, 'records'],
    'no record': [{ ...signed, records: [] }, Code.InvalidArgument, 'records'],
    'records beside lines': [{ ...signed, lines: linesOf(good) }, Code.InvalidArgument, 'lines'],
    'a line without its end': [asLines(signed, linesOf(good).slice(0, -1)), Code.InvalidArgument, 'lines'],
    'an empty line': [asLines(signed, new Uint8Array([...linesOf(good), 10])), Code.InvalidArgument, 'lines'],
    'a long line': [asLines(signed, linesOf([new Uint8Array(32_769).fill(32)])), Code.InvalidArgument, 'lines'],
    'too many lines': [asLines(signed, linesOf(new Array(2001).fill(first))), Code.InvalidArgument, 'lines'],
    'lines with a changed record': [
      asLines(signed, linesOf([text(first, 'GET', 'PUT'), second, third])),
      Code.InvalidArgument,
      'records',
    ],
    'a short signature': [{ ...signed, signature: signed.signature.slice(1) }, Code.InvalidArgument, 'signature'],
    "another node's name": [{ ...signed, node: 'node-2' }, Code.PermissionDenied, 'node'],
  };
  for (const [name, [batch, code, field]] of Object.entries(attacks)) {
    expect([name, ...(await refusal(audit.ingest(batch)))]).toEqual([name, code, field]);
  }
  expect(await requests(control)).toEqual([]);
  expect((await audit.ingest(asLines(signed, linesOf(good)))).storedSeq).toBe(3n);
  expect((await audit.ingest(signed)).storedSeq).toBe(3n);
});

/** A first record that names a past which there cannot be. */
const createChained = (node: ReturnType<typeof createNode>) => {
  const record = { ...decision('d0'), seq: 1, prev: 'b'.repeat(64), node: 'node-1' } as AuditRecord;
  return node.batch([new TextEncoder().encode(encodeRecord(record))], 1);
};

test('a stored record is never replaced, and a chain never forked', async () => {
  await using control = await startControl();
  const { audit } = control.asNode('node-1');
  await createNode(control).send(decision('d1'), decision('d2'));
  const forged = createNode(control);
  const records = [forged.write(decision('d1', { path: '/other' })), forged.write(decision('d2'))];
  expect(await refusal(audit.ingest(await forged.batch(records, 1)))).toEqual([Code.Aborted, 'records']);
  const third = forged.write(decision('d3'));
  expect(await refusal(audit.ingest(await forged.batch([third], 3)))).toEqual([Code.Aborted, 'records']);
  expect((await requests(control)).map(({ path }) => path)).toEqual(['/repos', '/repos']);
});

test('a node completes its own decisions alone', async () => {
  await using control = await startControl();
  await createNode(control).send(decision('d1'));
  await createNode(control, 'node-2').send(outcome('d1', { status: 500 }));
  expect((await requests(control)).map(({ node, status }) => [node, status])).toEqual([['node-1', 0]]);
});

test('numbers that no answer could hold are bounded, so that Query goes on', async () => {
  await using control = await startControl();
  const most = Number.MAX_SAFE_INTEGER;
  const huge = decision('d1', { time: most, count: most, snapshot_version: most });
  await createNode(control).send(huge, outcome('d1', { status: most, response_bytes: most, latency_micros: most }));
  const json = await fetch(`${control.url}/daypass.v1.AuditService/Query`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${control.home.adminKey}` },
    body: '{}',
  });
  expect([json.status, await json.json()]).toMatchObject([
    200,
    { events: [{ count: 4294967295, time: expect.stringMatching(/^9999-/) }] },
  ]);
});

test('Query filters, pages, and shows changes when asked', async () => {
  await using control = await startControl();
  const node = createNode(control);
  await node.send(
    decision('d1', { time: 1000, service: 'a' }),
    decision('d2', { time: 2000, service: 'b', client: 'laptop', jti: 'jti-2' }),
    decision('d3', { time: 3000, service: 'b', result: 'refused', reason: 'scope_refused' }),
    outcome('d3', { result: 'refused', status: 403 }),
  );
  const ids = async (filter: object) => (await requests(control, filter)).map(({ decisionId }) => decisionId);
  expect(await ids({ service: 'b' })).toEqual(['d3', 'd2']);
  expect(await ids({ client: 'laptop' })).toEqual(['d2']);
  expect(await ids({ jti: 'jti-1' })).toEqual(['d3', 'd1']);
  expect(await ids({ outcome: Outcome.REFUSED })).toEqual(['d3']);
  expect(await ids({ decisionId: 'd1' })).toEqual(['d1']);
  expect(await ids({ since: { seconds: 2n } })).toEqual(['d3', 'd2']);
  expect(await ids({ until: { seconds: 2n } })).toEqual(['d1']);
  expect(await ids({ service: 'b', outcome: Outcome.PENDING })).toEqual(['d2']);
  expect((await requests(control, { decisionId: 'd3' }))[0]).toMatchObject({ reason: 'scope_refused', status: 403 });

  const first = await control.admin.audit.query({ pageSize: 2 });
  const second = await control.admin.audit.query({ pageSize: 2, pageToken: first.nextPageToken });
  expect([first, second].map(({ events }) => events.map(({ decisionId }) => decisionId))).toEqual([
    ['d3', 'd2'],
    ['d1'],
  ]);
  expect(second.nextPageToken).toBe('');

  await control.admin.services.create({ service: { name: 'a', upstream: 'https://api.example.com' } });
  const minted = await control.admin.tokens.mint({ service: 'a', allow: ['GET /**'], client: 'ci', subject: 'me' });
  const changes = await requests(control, { kind: AuditKind.CHANGE });
  expect(changes.map(({ method, path, caller, seq, node: by }) => [method, path, caller, seq, by])).toEqual([
    ['TokenService/Mint', `tokens/${minted.jti}`, 'admin', 2n, ''],
    ['ServiceRegistry/Create', 'services/a', 'admin', 1n, ''],
  ]);
  expect(changes[0]).toMatchObject({
    jti: minted.jti,
    client: 'ci',
    principal: 'me',
    service: 'a',
    outcome: Outcome.ALLOWED,
  });
  expect(JSON.stringify(changes, (_, value) => String(value))).not.toContain(minted.token);
});

test('a change that is refused leaves neither a row nor a version', async () => {
  await using control = await startControl();
  const { snapshots } = control.asNode('node-1');
  const before = (await snapshots.get({})).snapshot?.manifest;
  await errorOf(control.admin.services.create({ service: { name: 'a', upstream: 'https://127.0.0.1' } }));
  await errorOf(control.admin.services.delete({ name: 'a' }));
  await errorOf(control.admin.callers.create({ caller: { name: 'bot', services: ['a'] } }));
  expect(await requests(control, { kind: AuditKind.CHANGE })).toEqual([]);
  expect((await snapshots.get({})).snapshot?.manifest).toEqual(before);
});

/** Follows the audit. */
const follow = (control: Running, filter: object) => {
  const stop = new AbortController();
  const seen: string[] = [];
  let alive = 0;
  const done = (async () => {
    try {
      for await (const { event } of control.admin.audit.tail({ filter }, { signal: stop.signal })) {
        if (event === undefined) alive += 1;
        else seen.push(`${event.decisionId}:${event.outcome}`);
      }
    } catch (error) {
      if (!stop.signal.aborted) throw error;
    }
  })();
  return { seen, alive: () => alive, done, stop: () => stop.abort() };
};

test('Tail brings what is stored since a time, then what comes, and an event again when its outcome comes', async () => {
  await using control = await startControl();
  const node = createNode(control);
  await node.send(decision('d1', { time: 1000 }), outcome('d1'), decision('d2', { time: 2000 }));
  const all = follow(control, { since: { seconds: 0n } });
  const fresh = follow(control, {});
  const refused = follow(control, { outcome: Outcome.REFUSED, service: 'github' });
  await until(() => all.seen.length === 2 && fresh.alive() === 1 && refused.alive() === 1);
  await node.send(outcome('d2'), decision('d3', { result: 'refused', reason: 'scope_refused' }));
  await node.send(outcome('d3', { result: 'refused', status: 403 }));
  await until(() => all.seen.length === 5);
  expect(all.seen).toEqual(['d1:1', 'd2:4', 'd3:2', 'd2:1', 'd3:2']);
  await until(() => fresh.seen.length === 3 && refused.seen.length === 2);
  expect(fresh.seen).toEqual(['d3:2', 'd2:1', 'd3:2']);
  for (const one of [all, fresh, refused]) one.stop();
  await Promise.all([all.done, fresh.done, refused.done]);
});

test('Tail loses and doubles nothing while batches come in', async () => {
  await using control = await startControl();
  const node = createNode(control);
  const names = Array.from({ length: 400 }, (_, i) => `d${i}`);
  const sending = (async () => {
    for (let at = 0; at < names.length; at += 20) {
      await node.send(...names.slice(at, at + 20).flatMap((id, i) => [decision(id, { time: at + i }), outcome(id)]));
    }
  })();
  await until(async () => (await requests(control)).length > 0);
  const tail = follow(control, { since: { seconds: 0n } });
  await sending;
  await until(() => tail.seen.length >= names.length);
  tail.stop();
  await tail.done;
  expect([...tail.seen].sort()).toEqual(names.map((id) => `${id}:1`).sort());
});

test('Tail has no end, and says so', async () => {
  await using control = await startControl();
  const tail = (async () => {
    for await (const _ of control.admin.audit.tail({ filter: { until: { seconds: 5n } } })) break;
  })();
  expect(await refusal(tail)).toEqual([Code.InvalidArgument, 'filter.until']);
});

/** Records as lines. */
function linesOf(records: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(records.flatMap((record) => [record, Buffer.from('\n')])));
}

const asLines = (batch: object, lines: Uint8Array): object => ({ ...batch, records: [], lines });
