// Rotates keys in the folders of a home: what is written, and what has to be handed to whom.
import { rm } from 'node:fs/promises';
import { DaypassError } from '@daypass/core/errors';
import { controlPaths, dataPaths, isFleet, keyFile, rootPaths } from '@daypass/core/home';
import { readObject, readString } from '@daypass/core/json';
import {
  type CryptoKey,
  type GeneratedKey,
  generateSealingKey,
  generateSigningKey,
  importEd25519,
  type KeyStatement,
  type PublicJwk,
  readPublicJwk,
  type SignedKeyBytes,
} from '@daypass/core/key';
import { at, type HomeFolders, json, TEN_YEARS_SECONDS } from './home.ts';
import {
  changeSignedKeys,
  placeAll,
  readFileOf,
  readSignedKeys,
  type SignedKeys,
  verifyList,
  vouch,
} from './signed-keys.ts';

/** What was done. */
export type Rotated = {
  readonly kid: string;
  readonly pools: readonly string[];
  /** Of a snapshot key. */
  readonly generation?: number;
  /** Files that were written. */
  readonly written: readonly string[];
};

/** Which pools, and when. */
export type Asked = {
  /** Undefined: all of them. */
  readonly pool?: string | undefined;
  /** Makes the pool, where there is none of that name. */
  readonly newPool?: boolean | undefined;
  readonly nowSeconds: number;
};

const POOL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
/** Of a pool; ended ones are left out first. */
const KEYS_MAX = 16;

/** A new token key beside those that are there. */
export const rotateToken = async (folders: HomeFolders): Promise<Rotated> => {
  const key = await generateSigningKey();
  const { fleet, tokenKeys } = controlPaths(folders.home);
  // A home that is not there would otherwise begin with a key.
  await readFileOf(at(fleet, folders), (value) => readObject(value, 'file'));
  const path = at(keyFile(tokenKeys, key.kid), folders);
  await placeAll([[path, json(key.privateJwk)]]);
  return { kid: key.kid, pools: [], written: [path] };
};

/**
 * A new snapshot key, first in the list of each pool. One that is `compromised` is left out, and its generation ends:
 * no node that has seen the new one takes it again.
 */
export const rotateSnapshot = async (
  folders: HomeFolders,
  asked: Asked & { readonly compromised?: boolean | undefined },
): Promise<Rotated> => {
  const key = await generateSigningKey();
  const paths = controlPaths(folders.home);
  const file = at(paths.snapshotKeyStatement, folders);
  const path = at(keyFile(paths.snapshotKeys, key.kid), folders);
  const root = await readRoot(folders);
  const done = { pools: [] as readonly string[], generation: 0 };
  await changeSignedKeys(file, async (keys) => {
    const pools = poolsOf(keys, asked, file);
    done.generation = await nextGeneration(keys, pools, root, asked.compromised === true);
    done.pools = pools;
    const statement = { use: 'snapshot', generation: done.generation, notAfter: endOf(asked) } as const;
    const kept = asked.compromised === true ? () => [] : living(root, asked);
    return { keys: await withKey(keys, { pools, key, statement, root, kept }), files: [[path, json(key.privateJwk)]] };
  });
  return { kid: key.kid, ...done, written: [path, file] };
};

/** A new sealing key of one pool; its private half is for the data planes of that pool, its public half for control planes. */
export const rotateSeal = async (folders: HomeFolders, asked: Asked): Promise<Rotated> => {
  const key = await generateSealingKey();
  const file = at(controlPaths(folders.home).sealingKeys, folders);
  const path = at(keyFile(dataPaths(folders.home).sealing, key.kid), folders);
  const root = await readRoot(folders);
  let pools: readonly string[] = [];
  await changeSignedKeys(file, async (keys) => {
    pools = poolsOf(keys, asked, file);
    if (pools.length > 1) throw needsPool(pools);
    const statement = { use: 'seal', notAfter: endOf(asked) } as const;
    const changed = await withKey(keys, { pools, key, statement, root, kept: living(root, asked) });
    return { keys: changed, files: [[path, json(key.privateJwk)]] };
  });
  return { kid: key.kid, pools, written: [path, file] };
};

/** Whether a key is one of the snapshot keys of these folders; false where there are none. */
export const isSnapshotKey = async (folders: HomeFolders, kid: string): Promise<boolean> => {
  const file = at(controlPaths(folders.home).snapshotKeyStatement, folders);
  const keys = await readSignedKeys(file).catch(() => new Map<string, readonly SignedKeyBytes[]>());
  return [...keys.values()].flat().some(({ statement }) => kidOf(statement) === kid);
};

/**
 * Retires a snapshot key that signs no more: the one that does is signed again in the next generation, so that no node
 * takes the old one again. Its private half is removed where it lies under its own name.
 * @throws DaypassError `failed_precondition` for the key that signs
 */
export const retireSnapshot = async (folders: HomeFolders, kid: string, nowSeconds: number): Promise<Rotated> => {
  const paths = controlPaths(folders.home);
  const file = at(paths.snapshotKeyStatement, folders);
  const root = await readRoot(folders);
  const done = { pools: [] as readonly string[], generation: 0 };
  await changeSignedKeys(file, async (keys) => {
    const changed = new Map(keys);
    done.pools = [...keys]
      .filter(([, list]) => list.some(({ statement }) => kidOf(statement) === kid))
      .map(([pool]) => pool);
    done.generation = await nextGeneration(keys, done.pools, root, true);
    for (const pool of done.pools) {
      const [first] = await verifyList(keys.get(pool) ?? [], root.publicJwk);
      if (first === undefined || first.key.kid === kid) throw stillSigns(pool);
      const { jwk, fleet } = first.key;
      const statement = { fleet, pool, use: 'snapshot', kid: first.key.kid, jwk, generation: done.generation } as const;
      changed.set(pool, [
        await vouch({ ...statement, not_after: Math.floor(nowSeconds) + TEN_YEARS_SECONDS }, root.key),
      ]);
    }
    return { keys: changed, files: [] };
  });
  await rm(at(keyFile(paths.snapshotKeys, kid), folders), { force: true });
  return { kid, ...done, written: [file] };
};

type Root = { readonly key: CryptoKey; readonly publicJwk: PublicJwk; readonly fleet: string };

/** The root's private key, which has to be the one that the control plane's files name. */
const readRoot = async (folders: HomeFolders): Promise<Root> => {
  const [rootFile, fleetFile] = [
    at(rootPaths(folders.home).key, folders),
    at(controlPaths(folders.home).fleet, folders),
  ];
  const jwk = await readFileOf(rootFile, (value) => {
    const { d, ...open } = readObject(value, 'file');
    return { ...readPublicJwk(open, 'Ed25519', 'file'), d: readString(d, 'd') };
  });
  const { fleet, root } = await readFileOf(fleetFile, (value) => {
    const object = readObject(value, 'file');
    return { fleet: readString(object.fleet, 'fleet'), root: readPublicJwk(object.root, 'Ed25519', 'root') };
  });
  if (!isFleet(fleet) || root.x !== jwk.x)
    throw new DaypassError('key_untrusted', `${rootFile} is not the root of the fleet in ${fleetFile}`, {
      field: rootFile,
    });
  return { key: await importEd25519(jwk, 'sign'), publicJwk: root, fleet };
};

const poolsOf = (keys: SignedKeys, { pool, newPool }: Asked, file: string): readonly string[] => {
  if (pool === undefined) return [...keys.keys()];
  if (!POOL.test(pool))
    throw new DaypassError('invalid_argument', 'a pool is named with lower-case letters, digits and inner hyphens', {
      field: '--pool',
    });
  if (keys.has(pool) === (newPool !== true)) return [pool];
  const why = newPool === true ? 'is there already' : `is not in ${file}; --new-pool makes it`;
  throw new DaypassError('failed_precondition', `the pool "${pool}" ${why}`, { field: '--pool' });
};

const needsPool = (pools: readonly string[]): DaypassError =>
  new DaypassError('invalid_argument', `there are several pools, say which: --pool ${pools.join(', --pool ')}`, {
    field: '--pool',
  });

const stillSigns = (pool: string): DaypassError =>
  new DaypassError('failed_precondition', `it is the key that signs the snapshots of "${pool}": rotate it first`, {
    field: 'kid',
  });

type NewKey = {
  readonly pools: readonly string[];
  readonly key: GeneratedKey;
  readonly statement: { readonly use: KeyStatement['use']; readonly generation?: number; readonly notAfter: number };
  readonly root: Root;
  /** Which keys of a pool stay behind the new one. */
  readonly kept: (list: readonly SignedKeyBytes[]) => Promise<readonly SignedKeyBytes[]> | readonly SignedKeyBytes[];
};

const withKey = async (keys: SignedKeys, { pools, key, statement, root, kept }: NewKey): Promise<SignedKeys> => {
  const changed = new Map(keys);
  const { notAfter, ...rest } = statement;
  for (const pool of pools) {
    const what = { ...rest, fleet: root.fleet, pool, kid: key.kid, jwk: key.publicJwk, not_after: notAfter };
    const before = await kept(keys.get(pool) ?? []);
    if (before.length >= KEYS_MAX)
      throw new DaypassError('failed_precondition', `the pool "${pool}" has ${KEYS_MAX} keys: retire some`, {
        field: '--pool',
      });
    changed.set(pool, [await vouch(what, root.key), ...before]);
  }
  return changed;
};

const endOf = ({ nowSeconds }: Asked): number => Math.floor(nowSeconds) + TEN_YEARS_SECONDS;

const living =
  ({ publicJwk }: Root, { nowSeconds }: Asked) =>
  async (list: readonly SignedKeyBytes[]): Promise<readonly SignedKeyBytes[]> =>
    (await verifyList(list, publicJwk)).filter(({ key }) => nowSeconds < key.not_after).map(({ signed }) => signed);

/** The highest of the pools, or one above it. */
const nextGeneration = async (
  keys: SignedKeys,
  pools: readonly string[],
  { publicJwk }: Root,
  isNew: boolean,
): Promise<number> => {
  const known = await Promise.all(pools.map((pool) => verifyList(keys.get(pool) ?? [], publicJwk)));
  const highest = Math.max(0, ...known.flat().map(({ key }) => key.generation ?? 0));
  return isNew ? highest + 1 : highest;
};

/** For finding a key only: not verified. */
const kidOf = (statement: Uint8Array): unknown => {
  const { kid } = JSON.parse(new TextDecoder().decode(statement)) as { readonly kid?: unknown };
  return kid;
};
