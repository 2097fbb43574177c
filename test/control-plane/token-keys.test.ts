// Token keys: a new one is public first, signs once every node knows it, and the old one ends without a token refused.
import { createHash } from 'node:crypto';
import { cp, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ConnectError } from '@connectrpc/connect';
import { controlPaths, keyFile } from '@daypass/core/home';
import { type GeneratedKey, generateSigningKey } from '@daypass/core/key';
import { readToken } from '@daypass/core/token';
import { KeyState, KeyUse } from '@daypass/sdk/gen/daypass/v1/key_pb';
import type { Snapshot } from '@daypass/sdk/gen/daypass/v1/snapshot_pb';
import { expect, test } from 'vitest';
import { errorOf, makeHome, type Running, startControl, until } from './fixture.ts';

/** Puts a new private token key into the home, as `daypass keys rotate token` does. */
const addTokenKey = async (home: string): Promise<GeneratedKey> => {
  const key = await generateSigningKey();
  const { tokenKeys } = controlPaths(home);
  await mkdir(tokenKeys, { recursive: true });
  const file = keyFile(tokenKeys, key.kid);
  await writeFile(`${file}.new`, JSON.stringify(key.privateJwk), { mode: 0o600 });
  await rename(`${file}.new`, file);
  return key;
};

const kidsIn = (snapshot: Snapshot | undefined): readonly string[] =>
  (snapshot?.entries ?? []).filter(({ kind }) => kind === 'key').map(({ name }) => name);

/** A node that activates every snapshot, until it is told to stop. */
const follow = (control: Running, name: string) => {
  const stop = new AbortController();
  const client = control.asNode(name).snapshots;
  const state: { kids: readonly string[] } = { kids: [] };
  const run = async () => {
    let acknowledged = 0n;
    while (!stop.signal.aborted) {
      const { snapshot } = await client.get({});
      const manifest = JSON.parse(Buffer.from(snapshot?.manifest ?? []).toString()) as Record<string, number>;
      const version = BigInt(manifest.version ?? 0);
      if (version !== acknowledged) await report(control, name, snapshot);
      acknowledged = version;
      state.kids = kidsIn(snapshot);
    }
  };
  const ended = run();
  return {
    state,
    stop: async () => {
      stop.abort();
      await ended;
    },
  };
};

const report = async (control: Running, node: string, snapshot: Snapshot | undefined): Promise<void> => {
  const manifest = JSON.parse(Buffer.from(snapshot?.manifest ?? []).toString()) as Record<string, number>;
  const digest = createHash('sha256')
    .update(snapshot?.manifest ?? new Uint8Array())
    .digest('hex');
  const lease = { seconds: BigInt(manifest.expires_at ?? 0), nanos: 0 };
  const version = BigInt(manifest.version ?? 0);
  await control.asNode(node).snapshots.report({ node, version, digest, leaseExpiresAt: lease });
};

const mint = async (control: Running): Promise<string> =>
  (await control.admin.tokens.mint({ service: 'api', allow: ['* /**'] })).token;
const signedBy = async (control: Running): Promise<string> => readToken(await mint(control)).kid;
const service = { name: 'api', upstream: 'https://api.example.com' };

const stateOf = async (control: Running, kid: string): Promise<KeyState | undefined> =>
  (await control.admin.keys.list({})).keys.find((key) => key.kid === kid)?.state;

const codeOf = async (work: Promise<unknown>): Promise<string | null | undefined> => {
  const error = await errorOf(work);
  return error instanceof ConnectError ? error.metadata.get('daypass-error-code') : undefined;
};

test('a new key signs only once every node with a running lease knows it, and meanwhile the old one does', async () => {
  await using control = await startControl();
  await control.admin.services.create({ service, wait: { seconds: 0n } });
  const [one, other] = [follow(control, 'node-1'), follow(control, 'node-3')];
  // One that does not follow holds it up.
  const { snapshot } = await control.asNode('node-2').snapshots.get({});
  await report(control, 'node-2', snapshot);
  const before = await signedBy(control);
  const { kid } = await addTokenKey(control.home.path);
  await control.app.reload();
  await until(() => one.state.kids.includes(kid) && other.state.kids.includes(kid));
  expect(one.state.kids).toContain(before);
  expect(await stateOf(control, kid)).toBe(KeyState.WAITING);
  expect(await signedBy(control)).toBe(before);
  const jwks = JSON.parse((await control.admin.keys.getVerificationKeys({})).jwks) as { keys: { kid: string }[] };
  expect(jwks.keys.map((key) => key.kid).sort()).toEqual([before, kid].sort());

  await report(control, 'node-2', (await control.asNode('node-2').snapshots.get({})).snapshot);
  await until(async () => (await signedBy(control)) === kid);
  expect(await stateOf(control, kid)).toBe(KeyState.CURRENT);
  expect(await stateOf(control, before)).toBe(KeyState.FORMER);
  await Promise.all([one.stop(), other.stop()]);
});

test('a token of the old key is good until the key is retired, and the key that signs cannot be', async () => {
  await using control = await startControl();
  await control.admin.services.create({ service, wait: { seconds: 0n } });
  const token = await mint(control);
  const old = readToken(token).kid;
  expect(await codeOf(control.admin.keys.retire({ kid: old }))).toBe('failed_precondition');
  const { kid } = await addTokenKey(control.home.path);
  await control.app.reload();
  await until(async () => (await signedBy(control)) === kid);
  expect((await control.admin.tokens.introspect({ token })).active).toBe(true);
  const child = await control.admin.tokens.exchange({ subjectToken: token });
  expect(readToken(child.token).kid).toBe(kid);

  expect(await codeOf(control.admin.keys.retire({ kid }))).toBe('failed_precondition');
  await control.admin.keys.retire({ kid: old });
  expect(await stateOf(control, old)).toBe(KeyState.RETIRED);
  expect(await control.admin.tokens.introspect({ token })).toMatchObject({
    active: false,
    reason: 'token_key_unknown',
  });
  expect(await codeOf(control.admin.tokens.exchange({ subjectToken: token }))).toBe('invalid_argument');
  expect(kidsIn((await control.asNode('node-1').snapshots.get({})).snapshot)).toEqual([kid]);
  await control.admin.keys.retire({ kid: old });
  const { events } = await control.admin.audit.query({ filter: { kind: 2 }, pageSize: 100 });
  const of = (method: string) =>
    events.filter((event) => event.method === method).map(({ path, caller }) => [path, caller]);
  expect(of('KeyService/Announce')).toEqual([[`keys/${kid}`, '']]);
  expect(of('KeyService/Activate')).toEqual([[`keys/${kid}`, '']]);
  expect(of('KeyService/Retire')).toEqual([
    [`keys/${old}`, 'admin'],
    [`keys/${old}`, 'admin'],
  ]);
});

test('the key that signs is retired by force where another waits, which signs at once', async () => {
  await using control = await startControl();
  await control.admin.services.create({ service, wait: { seconds: 0n } });
  const { snapshot } = await control.asNode('node-1').snapshots.get({});
  await report(control, 'node-1', snapshot);
  const old = await signedBy(control);
  expect(await codeOf(control.admin.keys.retire({ kid: old, force: true }))).toBe('failed_precondition');
  const { kid } = await addTokenKey(control.home.path);
  await control.app.reload();
  expect(await stateOf(control, kid)).toBe(KeyState.WAITING);
  const { rollout } = await control.admin.keys.retire({ kid: old, force: true, wait: { seconds: 0n } });
  expect(rollout?.missing.map(({ node }) => node)).toEqual(['node-1']);
  expect(await signedBy(control)).toBe(kid);
});

test('a retired key stays retired when the control plane starts again with its file', async () => {
  const home = await makeHome();
  const added = await (async () => {
    await using control = await startControl({ home });
    await control.admin.services.create({ service, wait: { seconds: 0n } });
    const old = await signedBy(control);
    const { kid } = await addTokenKey(home.path);
    await control.app.reload();
    await until(async () => (await signedBy(control)) === kid);
    await control.admin.keys.retire({ kid: old });
    return { old, kid };
  })();
  await using again = await startControl({ home });
  expect(await signedBy(again)).toBe(added.kid);
  expect(await stateOf(again, added.old)).toBe(KeyState.RETIRED);
  expect(kidsIn((await again.asNode('node-1').snapshots.get({})).snapshot)).toEqual([added.kid]);
  await again.app.close();
  await home.remove();
});

test('an old key is retired by itself once the last token that it signed has ended', async () => {
  let now = Date.now();
  await using control = await startControl({ now: () => now });
  await control.admin.services.create({ service, wait: { seconds: 0n } });
  const old = await signedBy(control);
  const { kid } = await addTokenKey(control.home.path);
  await control.app.reload();
  await until(async () => (await stateOf(control, kid)) === KeyState.CURRENT);
  const key = (await control.admin.keys.list({})).keys.find((one) => one.kid === old);
  const ends = Number(key?.lastExpireTime?.seconds ?? 0n) * 1000;
  expect(ends).toBeGreaterThanOrEqual(now + 900_000 - 1000);
  now = ends + 61_000;
  await control.app.reload();
  await until(async () => (await stateOf(control, old)) === KeyState.RETIRED);
});

test('without the private half of a key that nodes know nothing is minted, and it says so', async () => {
  const home = await makeHome();
  {
    await using control = await startControl({ home });
    await control.admin.services.create({ service, wait: { seconds: 0n } });
    const { snapshot } = await control.asNode('node-1').snapshots.get({});
    await report(control, 'node-1', snapshot);
  }
  await rm(controlPaths(home.path).tokenKey);
  const { kid } = await addTokenKey(home.path);
  await using control = await startControl({ home });
  expect(await codeOf(mint(control))).toBe('unavailable');
  await report(control, 'node-1', (await control.asNode('node-1').snapshots.get({})).snapshot);
  await until(async () => (await signedBy(control).catch(() => '')) === kid);
  await control.app.close();
  await home.remove();
});

test('with two control planes a key signs at neither before every node knows it, and each knows the keys of the other', async () => {
  const home = await makeHome();
  await using a = await startControl({ home });
  const copy = `${home.path}-copy`;
  await cp(join(home.path, 'control'), join(copy, 'control'), { recursive: true });
  const env = { DAYPASS_DATABASE_URL: `sqlite:${controlPaths(home.path).database}` };
  await using b = await startControl({ home: { ...home, path: copy }, env });
  await a.admin.services.create({ service, wait: { seconds: 0n } });
  const { snapshot } = await a.asNode('node-1').snapshots.get({});
  await report(a, 'node-1', snapshot);
  const old = await signedBy(b);

  // It lies at one of them only: the other publishes it all the same, and signs with what it has.
  const { kid } = await addTokenKey(home.path);
  await a.app.reload();
  await b.admin.services.create({ service: { ...service, name: 'other' }, wait: { seconds: 0n } });
  const both = await until(async () => {
    const newest = (await b.asNode('node-1').snapshots.get({})).snapshot;
    return kidsIn(newest).includes(kid) && newest;
  });
  expect([await signedBy(a), await signedBy(b)]).toEqual([old, old]);
  await report(b, 'node-1', both);
  await until(async () => (await signedBy(a)) === kid);
  expect(await signedBy(b)).toBe(old);
  const token = await mint(a);
  expect((await b.admin.tokens.introspect({ token })).active).toBe(true);
  const listed = (await b.admin.keys.list({})).keys.find((key) => key.kid === kid);
  expect([listed?.state, listed?.held]).toEqual([KeyState.CURRENT, false]);

  // Retired at one, it signs nothing at the other from that moment.
  await a.admin.keys.retire({ kid: old, wait: { seconds: 0n } });
  expect(await codeOf(mint(b))).toBe('unavailable');
  await cp(controlPaths(home.path).tokenKeys, controlPaths(copy).tokenKeys, { recursive: true });
  await b.app.reload();
  expect(await signedBy(b)).toBe(kid);
  await Promise.all([a.app.close(), b.app.close()]);
  await Promise.all([home.remove(), rm(copy, { recursive: true })]);
});

test('a home that got bad is reported, and the keys of before stay', async () => {
  await using control = await startControl();
  await control.admin.services.create({ service, wait: { seconds: 0n } });
  const old = await signedBy(control);
  const { tokenKeys } = controlPaths(control.home.path);
  await mkdir(tokenKeys);
  await writeFile(keyFile(tokenKeys, 'broken'), '{');
  await control.app.reload();
  await control.app.reload();
  expect(control.logged.filter((line) => line.includes('keys of before stay'))).toHaveLength(1);
  expect(await signedBy(control)).toBe(old);
  await rm(keyFile(tokenKeys, 'broken'));
  const { kid } = await addTokenKey(control.home.path);
  await control.app.reload();
  await until(async () => (await signedBy(control)) === kid);
});

test('every key is listed with its use and state, to admins alone', async () => {
  await using control = await startControl();
  const { keys } = await control.admin.keys.list({});
  expect(keys.map(({ use, pool, state, held }) => [use, pool, state, held])).toEqual([
    [KeyUse.TOKEN, '', KeyState.CURRENT, true],
    [KeyUse.SNAPSHOT, 'default', KeyState.CURRENT, true],
    [KeyUse.SNAPSHOT, 'other', KeyState.CURRENT, true],
    [KeyUse.SEAL, 'default', KeyState.CURRENT, false],
    [KeyUse.SEAL, 'other', KeyState.CURRENT, false],
  ]);
});
