// Sealing keys that come and go while a node serves: a seal whose key has just come opens, one that got bad changes nothing.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type GeneratedKey, generateSealingKey, importX25519 } from '@daypass/core/key';
import { sealCredential } from '@daypass/core/seal';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { DEFAULT_LIMITS } from '../../data-plane/limits.ts';
import { createLog } from '../../data-plane/log.ts';
import { watchSealing } from '../../data-plane/sealing-folder.ts';
import { createSeals } from '../../data-plane/seals.ts';
import { createGivenKeys, fixedKeys, type KeysById } from '../../data-plane/unseal-keys.ts';

const [one, other] = [await generateSealingKey(), await generateSealingKey()];
const keysOf = async (...keys: readonly GeneratedKey[]): Promise<KeysById> =>
  new Map(await Promise.all(keys.map(async (key) => [key.kid, await importX25519(key.privateJwk, 'open')] as const)));
const sealedTo = (key: GeneratedKey): Promise<string> =>
  sealCredential(
    {
      ...{ v: 1, id: '0123456789abcdef0123456789abcdef', fleet: 'urn:a:b', pool: 'default', service: 'api' },
      ...{ origins: ['https://api.example.com'], place: { kind: 'bearer' }, rules: ['* /**'], callers: ['*'] },
      ...{ nbf: 0, exp: 4_000_000_000, secret: 'canary-credential' },
    },
    { kid: key.kid, jwk: key.publicJwk },
  );
const codeOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => 'opened',
    (error) => error.code,
  );

test('a seal to a key that is not here is looked for once, and opens where it has come', async () => {
  const both = await keysOf(one, other);
  const keys = createGivenKeys(await keysOf(one), () => keys.give(both), performance.now.bind(performance));
  const seals = createSeals(keys, DEFAULT_LIMITS);
  const { seal } = await seals.open(await sealedTo(other));
  expect(seal.service).toBe('api');
});

test('a seal that was refused for want of its key opens once the key has come', async () => {
  let asked = 0;
  const keys = createGivenKeys(
    await keysOf(one),
    () => {
      asked += 1;
      keys.give(keys.current());
    },
    () => 0,
  );
  const seals = createSeals(keys, DEFAULT_LIMITS);
  const jwe = await sealedTo(other);
  expect(await codeOf(seals.open(jwe))).toBe('seal_malformed');
  expect(await codeOf(seals.open(jwe))).toBe('seal_malformed');
  keys.give(await keysOf(one, other));
  expect(await codeOf(seals.open(jwe))).toBe('opened');
  expect(asked).toBe(1);
});

test('keys are looked for once a second, by all that wait together, whoever answers', async () => {
  vi.useFakeTimers();
  let asked = 0;
  const keys = createGivenKeys(
    new Map(),
    () => {
      asked += 1;
    },
    Date.now,
  );
  const waiting = Promise.all([keys.lookAgain(), keys.lookAgain()]);
  expect(asked).toBe(1);
  keys.give(new Map());
  await waiting;
  // Whoever comes too soon waits for the next look, and is not let go by keys that came before it.
  let isOver = false;
  const soon = keys.lookAgain().then(() => {
    isOver = true;
  });
  keys.give(new Map());
  await vi.advanceTimersByTimeAsync(999);
  expect([asked, isOver]).toEqual([1, false]);
  await vi.advanceTimersByTimeAsync(1);
  expect([asked, isOver]).toEqual([2, false]);
  // Nobody answers: it ends by itself.
  await vi.advanceTimersByTimeAsync(1000);
  await soon;
  expect([asked, isOver]).toEqual([2, true]);
  vi.useRealTimers();
});

test('what is opened stays open when its key goes', async () => {
  const keys = createGivenKeys(
    await keysOf(one),
    () => undefined,
    () => 0,
  );
  const seals = createSeals(keys, DEFAULT_LIMITS);
  const jwe = await sealedTo(one);
  await seals.open(jwe);
  keys.give(new Map());
  expect(await codeOf(seals.open(jwe))).toBe('opened');
  expect(await codeOf(createSeals(fixedKeys(new Map()), DEFAULT_LIMITS).open(jwe))).toBe('seal_malformed');
});

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'daypass-sealing-'));
});
afterEach(() => {
  vi.useRealTimers();
  return rm(folder, { recursive: true, force: true });
});

const put = (key: GeneratedKey): Promise<void> =>
  writeFile(join(folder, `${key.kid}.jwk`), JSON.stringify(key.privateJwk), { mode: 0o600 });

test('a key that comes into the folder is taken, one that goes is given up, and a bad folder changes nothing', async () => {
  await put(one);
  const logged: string[] = [];
  const told: (readonly string[])[] = [];
  using watched = watchSealing({
    folder,
    first: await keysOf(one),
    changed: (keys) => told.push([...keys.keys()].sort()),
    log: createLog('error', (line) => logged.push(line)),
    everyMs: 3_600_000,
  });
  await watched.look();
  expect(told).toEqual([]);
  await put(other);
  await watched.look();
  expect(told).toEqual([[one.kid, other.kid].sort()]);
  await rm(join(folder, `${one.kid}.jwk`));
  await watched.look();
  expect(told.at(-1)).toEqual([other.kid]);

  await writeFile(join(folder, 'broken.jwk'), '{"d":"canary"');
  await watched.look();
  await watched.look();
  expect(logged).toHaveLength(1);
  expect(logged[0]).not.toContain('canary');
  await rm(join(folder, 'broken.jwk'));
  await rm(join(folder, `${other.kid}.jwk`));
  await watched.look();
  expect(logged[1]).toContain('holds no keys any more');
  expect([...watched.current().keys()]).toEqual([other.kid]);
  expect(told).toHaveLength(2);
});
