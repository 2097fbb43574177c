// A request that was begun with a good token, and is still on its way when the ground is taken from it.
import { createHash } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { generateSigningKey } from '@daypass/core/key';
import { expect, test } from 'vitest';
import { type Content, type Fixture, ISSUER, startFixture } from './fixture.ts';
import { codeIn, parseAnswers, soon, startRecorder } from './recorder.ts';

const credentialId = createHash('sha256').update('api').digest('hex').slice(0, 32);
const statusAt = (idx: number) => ({ status_list: { idx, uri: `${ISSUER}/statuslists/0` } });
const NOW = Math.floor(Date.now() / 1000);
const parent = (jti: string, idx: number) => ({ jti, client_id: 'boss', sub: 'ann', iat: NOW, status: statusAt(idx) });
const otherKey = await generateSigningKey();

type Change = { readonly content?: Partial<Content>; readonly laterSeconds?: number };

/** What ends a request, why, and whether another token of the same service is spared. */
const REASONS: readonly (readonly [string, Change, string, boolean])[] = [
  ['its token is revoked', { content: { revoked: [9] } }, 'token_revoked', true],
  ['the token that it was exchanged from is revoked', { content: { revoked: [19] } }, 'token_revoked', true],
  ['the one that this came from is revoked', { content: { revoked: [29] } }, 'token_revoked', true],
  ['its client is cut off', { content: { cutoffs: [{ client: 'lost', minted_before: 4e9 }] } }, 'token_revoked', true],
  [
    'the client of a parent is cut off',
    { content: { cutoffs: [{ client: 'boss', minted_before: 4e9 }] } },
    'token_revoked',
    true,
  ],
  [
    'its credential is cut off for its client',
    { content: { cutoffs: [{ client: 'lost', credential_id: credentialId, minted_before: 4e9 }] } },
    'token_revoked',
    true,
  ],
  ['its service is deleted', { content: { services: [] } }, 'service_unknown', false],
  ['the key that signed its token is retired', { content: { keys: [otherKey] } }, 'token_key_unknown', false],
  ['its token expires', { laterSeconds: 910 }, 'token_expired', true],
  ['the lease of the snapshot ends', { laterSeconds: 3610 }, 'snapshot_expired', false],
];

/** A connection, and what came over it. */
type Client = { got: string; isClosed: boolean; readonly socket: Socket };

function dial(port: number, octets: string): Client {
  const socket = connect(port, '127.0.0.1');
  const client = { got: '', isClosed: false, socket };
  socket.on('data', (bytes) => (client.got += bytes.toString('latin1'))).on('close', () => (client.isClosed = true));
  socket.on('error', () => undefined);
  socket.write(octets);
  return client;
}

const head = (method: string, path: string, token: string, more = ''): string =>
  `${method} ${path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${token}\r\n${more}\r\n`;
const get = (token: string): string => head('GET', '/public/a', token);
const BEGINNING = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n';

async function withStreams(
  work: (data: Fixture, upstream: Awaited<ReturnType<typeof startRecorder>>) => Promise<void>,
) {
  using upstream = await startRecorder();
  await using data = await startFixture({ services: servicesOf(upstream) });
  await work(data, upstream);
}

const servicesOf = ({ origin }: { readonly origin: string }) => [
  { name: 'api', origin, secret: 'S3CRET', is_default: true },
];

/** The token that is lost: exchanged from one that was exchanged from another. */
const mintLost = (data: Fixture) =>
  data.mint({
    status: statusAt(9),
    client_id: 'lost',
    sub: 'ann',
    parents: [parent('p1', 19), { ...parent('p2', 29), client_id: 'root' }],
  });

async function take(data: Fixture, upstream: { readonly origin: string }, { content, laterSeconds }: Change) {
  if (content !== undefined) await data.publish({ services: servicesOf(upstream), ...content });
  data.clock.nowMs += (laterSeconds ?? 0) * 1000;
}

test.each(REASONS)('a stream of events ends on both sides when %s', (_name, change, reason, isSpared) =>
  withStreams(async (data, upstream) => {
    upstream.script(BEGINNING);
    upstream.script(BEGINNING);
    const kept = dial(data.port, get(await data.mint({ status: statusAt(8), exp: NOW + 3000 })));
    await soon(() => kept.got.includes('ok'));
    const lost = dial(data.port, get(await mintLost(data)));
    await soon(() => lost.got.includes('ok'));
    await take(data, upstream, change);
    await soon(() => lost.isClosed && upstream.sockets().length === (isSpared ? 1 : 0));
    expect(lost.got.endsWith('0\r\n\r\n')).toBe(false);
    expect(data.audit.outcomes).toContainEqual(expect.objectContaining({ result: 'failed', reason, status: 200 }));
    if (isSpared) {
      upstream.sockets()[0]?.write('4\r\nmore\r\n0\r\n\r\n');
      await soon(() => kept.got.endsWith('0\r\n\r\n'));
      expect(kept.got).toContain('more');
    }
    kept.socket.destroy();
  }));

test.each(REASONS)('a download that nobody reads ends when %s', (_name, change, reason) =>
  withStreams(async (data, upstream) => {
    upstream.script((socket) => {
      const piece = `10000\r\n${'x'.repeat(0x10000)}\r\n`;
      socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n');
      // More than the kernel takes on the way.
      const more = () => {
        while (socket.write(piece));
      };
      socket.on('drain', more);
      more();
    });
    const lost = dial(data.port, '');
    lost.socket.pause();
    lost.socket.write(get(await mintLost(data)));
    await soon(() => upstream.sockets()[0]?.writableNeedDrain === true);
    await take(data, upstream, change);
    await soon(() => upstream.sockets().length === 0 && data.audit.outcomes.length === 1);
    expect(data.audit.outcomes).toMatchObject([{ result: 'failed', reason, status: 200 }]);
    lost.socket.destroy();
  }));

test.each(REASONS)('an upload on its way goes no further when %s, and its client is told', (_name, change, reason) =>
  withStreams(async (data, upstream) => {
    const begun = head('POST', '/v1/items', await mintLost(data), 'Transfer-Encoding: chunked\r\n');
    const lost = dial(data.port, `${begun}4\r\nboom\r\n`);
    await soon(() => upstream.octets().includes('boom'));
    await take(data, upstream, change);
    await soon(() => upstream.sockets().length === 0 && parseAnswers(lost.got).length === 1);
    expect(parseAnswers(lost.got).map(codeIn)).toEqual([reason]);
    lost.socket.write('4\r\nlate\r\n0\r\n\r\n');
    await soon(() => lost.isClosed);
    expect(upstream.octets()).not.toContain('late');
  }));

test.each(REASONS)('an answer that is still waited for is not waited for any longer when %s', (_name, change, reason) =>
  withStreams(async (data, upstream) => {
    upstream.script(() => undefined);
    const lost = dial(data.port, get(await mintLost(data)));
    await soon(() => upstream.requests().length === 1);
    await take(data, upstream, change);
    await soon(() => parseAnswers(lost.got).length === 1 && upstream.sockets().length === 0);
    expect(parseAnswers(lost.got).map(codeIn)).toEqual([reason]);
    expect(data.audit.outcomes).toMatchObject([{ reason }]);
    lost.socket.destroy();
  }));
