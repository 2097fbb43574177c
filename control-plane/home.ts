// Reads what the control plane is from `control/` of the home: fleet, keys, nodes, the admin's key hash. Nothing else.
import { createPrivateKey } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { DaypassError } from '@daypass/core/errors';
import { controlPaths } from '@daypass/core/home';
import { type JsonValue, parseStrictJson } from '@daypass/core/json';
import {
  type CryptoKey,
  importEd25519,
  type KeyUse,
  type PrivateJwk,
  type PublicJwk,
  type SignedKeyBytes,
  type VerifiedKey,
  verifySignedKey,
} from '@daypass/core/key';
import type { SealingKey, SealingKeys } from './domain/keys.ts';
import type { SnapshotSigner, SnapshotSigners } from './domain/publisher.ts';
import type { TokenKey } from './domain/token-signers.ts';
import {
  type EnrolledNode,
  readAdmin,
  readFleet,
  readNodes,
  readPrivateJwk,
  readStatementLists,
} from './home-files.ts';
import type { Log } from './log.ts';

const FILE_BYTES_MAX = 1_048_576;

/** A private signing key and its public half. */
export type SigningKey = { readonly kid: string; readonly key: CryptoKey; readonly publicJwk: PublicJwk };

export type ControlHome = {
  /** The fleet's URI: the audience of tokens. */
  readonly fleet: string;
  /** The fleet root's public key. */
  readonly root: PublicJwk;
  /** At least one, the oldest first. */
  readonly tokenKeys: readonly TokenKey[];
  /** What signs manifests, by pool. */
  readonly snapshotSigners: SnapshotSigners;
  /** What credentials are sealed to, by pool. */
  readonly sealingKeys: SealingKeys;
  readonly nodes: readonly EnrolledNode[];
  /** Hex sha256 of the admin's API key. */
  readonly adminKeyHash: string;
};

/** Reads the files. Throws `config_invalid` with one line for each file that is wrong, naming its member. */
export const readControlHome = async (home: string, log: Log, now: () => number = Date.now): Promise<ControlHome> => {
  const paths = controlPaths(home);
  const problems: string[] = [];
  const attempt = async <T>(work: Promise<T>): Promise<T | undefined> => {
    try {
      return await work;
    } catch (error) {
      if (!(error instanceof DaypassError)) throw error;
      problems.push(error.message);
      return undefined;
    }
  };
  const fleet = await attempt(readJson(paths.fleet, readFleet));
  const tokenKeys = await attempt(readTokenKeys(paths, log));
  const snapshotKeys = await attempt(readSnapshotKeys(paths, log));
  const statements = await attempt(readJson(paths.snapshotKeyStatement, readStatementLists));
  const sealing = await attempt(readJson(paths.sealingKeys, readStatementLists));
  const nodes = await attempt(readJson(paths.nodes, readNodes));
  const adminKeyHash = await attempt(readJson(paths.admin, readAdmin));
  const chained = fleet && { ...fleet, now: now() / 1000 };
  const signers =
    chained && snapshotKeys && statements && (await attempt(chainSigners(paths, statements, snapshotKeys, chained)));
  const sealingKeys = chained && sealing && (await attempt(chainSealing(paths.sealingKeys, sealing, chained)));
  if (!fleet || !tokenKeys || !signers || !sealingKeys || !nodes || adminKeyHash === undefined) {
    throw new DaypassError('config_invalid', problems.join('\n'), { field: 'DAYPASS_HOME' });
  }
  checkPools(paths.nodes, nodes, signers);
  return { ...fleet, tokenKeys, snapshotSigners: signers, sealingKeys, nodes, adminKeyHash };
};

type Statements = ReadonlyMap<string, readonly SignedKeyBytes[]>;
type Chained = { readonly fleet: string; readonly root: PublicJwk; readonly now: number };

const chainSigners = async (
  paths: Paths,
  statements: Statements,
  keys: readonly SigningKey[],
  trust: Chained,
): Promise<SnapshotSigners> => {
  const signers = new Map<string, SnapshotSigner>();
  for (const [pool, list] of statements) {
    const verified = await chainList(paths.snapshotKeyStatement, pool, list, 'snapshot', trust);
    const first = verified.map((one) => signerOf(one, keys)).find((one) => one !== undefined);
    if (first === undefined) {
      const folder = `${paths.snapshotKey} and ${paths.snapshotKeys}`;
      throw wrongFile(paths.snapshotKeyStatement, `"${pool}" is signed for another key than ${folder} hold`);
    }
    signers.set(pool, first);
  }
  if (signers.size === 0) throw wrongFile(paths.snapshotKeyStatement, 'holds no pool');
  return signers;
};

const signerOf = ({ verified, signed }: SealingKey, keys: readonly SigningKey[]): SnapshotSigner | undefined => {
  const found = keys.find(({ publicJwk }) => publicJwk.x === verified.jwk.x);
  const { kid, generation = 0, not_after: notAfter } = verified;
  return found && { kid, key: found.key, signed, generation, notAfter };
};

const chainSealing = async (path: string, lists: Statements, trust: Chained): Promise<SealingKeys> => {
  const keys = new Map<string, readonly SealingKey[]>();
  for (const [pool, list] of lists) keys.set(pool, await chainList(path, pool, list, 'seal', trust));
  return keys;
};

/** Those that have not ended: a key that was rotated may end. None of them may be wrong, nor may all have ended. */
const chainList = async (
  path: string,
  pool: string,
  list: readonly SignedKeyBytes[],
  use: KeyUse,
  trust: Chained,
): Promise<readonly SealingKey[]> => {
  const all: SealingKey[] = [];
  for (const signed of list) all.push({ signed, verified: await chain(path, pool, signed, use, trust) });
  const living = all.filter(({ verified }) => trust.now < verified.not_after);
  if (list.length > 0 && living.length === 0) throw wrongFile(path, `"${pool}": The key has ended`);
  return living;
};

const chain = async (
  path: string,
  pool: string,
  signed: SignedKeyBytes,
  use: KeyUse,
  trust: Chained,
): Promise<VerifiedKey> => {
  try {
    return await verifySignedKey(signed, { ...trust, use, pool, now: 0 });
  } catch (error) {
    throw wrongFile(path, `"${pool}": ${error instanceof DaypassError ? error.message : 'cannot be verified'}`);
  }
};

const checkPools = (path: string, nodes: readonly EnrolledNode[], signers: ReadonlyMap<string, unknown>): void => {
  const lost = nodes.find(({ pool }) => !signers.has(pool));
  if (lost !== undefined) throw wrongFile(path, `the pool "${lost.pool}" of "${lost.name}" has no snapshot key`);
};

type Paths = ReturnType<typeof controlPaths>;

const readSnapshotKeys = async (paths: Paths, log: Log): Promise<readonly SigningKey[]> => {
  const keys: SigningKey[] = [];
  for (const path of await keyFiles(paths.snapshotKey, paths.snapshotKeys))
    keys.push(await signingKeyOf(path, await readKeyFile(path, log)));
  return keys;
};

/** Tokens are signed by node itself (token-signer.ts). */
const readTokenKeys = async (paths: Paths, log: Log): Promise<readonly TokenKey[]> => {
  const keys: TokenKey[] = [];
  for (const path of await keyFiles(paths.tokenKey, paths.tokenKeys)) {
    const jwk = await readKeyFile(path, log);
    const { kid, publicJwk } = await signingKeyOf(path, jwk);
    const { kty, crv, x, d } = jwk;
    keys.push({ kid, publicJwk, key: createPrivateKey({ format: 'jwk', key: { kty, crv, x, d } }) });
  }
  return keys;
};

const KEY_FILES_MAX = 64;

/** The one that `init` made, and those that came after it, the oldest first. One at least. */
const keyFiles = async (first: string, folder: string): Promise<readonly string[]> => {
  const names = (await namesIn(folder)).filter((name) => name.endsWith('.jwk'));
  if (names.length > KEY_FILES_MAX) throw wrongFile(folder, `holds more than ${KEY_FILES_MAX} keys`);
  const dated = await Promise.all(names.map(async (name) => ({ name, at: (await stat(`${folder}/${name}`)).mtimeMs })));
  const later = dated.sort((a, b) => a.at - b.at || (a.name < b.name ? -1 : 1));
  const isThere = await stat(first).then(
    () => true,
    () => false,
  );
  // Where there is none at all, the first is the one that is missed.
  return [...(isThere || later.length === 0 ? [first] : []), ...later.map(({ name }) => `${folder}/${name}`)];
};

/** A folder that is not there has none. */
const namesIn = async (folder: string): Promise<readonly string[]> => {
  try {
    return await readdir(folder);
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return [];
    throw wrongFile(folder, `cannot be read (${cause instanceof Error ? cause.message : 'unknown'})`);
  }
};

const readKeyFile = async (path: string, log: Log): Promise<PrivateJwk> => {
  const jwk = await readJson(path, readPrivateJwk);
  const { mode } = await stat(path);
  if ((mode & 0o077) !== 0 && process.platform !== 'win32') {
    log.warn('a private key can be read by others; its mode should be 0600', { file: path });
  }
  return jwk;
};

const signingKeyOf = async (path: string, jwk: PrivateJwk): Promise<SigningKey> => {
  if (jwk.kid === undefined) throw wrongFile(path, '"kid" is missing');
  const { kid, x } = jwk;
  try {
    return { kid, key: await importEd25519(jwk, 'sign'), publicJwk: { kty: 'OKP', crv: 'Ed25519', x, kid } };
  } catch {
    // The cause is dropped: it may quote the key.
    throw wrongFile(path, '"d" and "x" are not an Ed25519 key pair');
  }
};

/** Reads a JSON file; what is wrong with it is said with its path, and never with what it holds. */
const readJson = async <T>(path: string, parse: (value: JsonValue) => T): Promise<T> => {
  const text = await readText(path);
  try {
    return parse(parseStrictJson(text));
  } catch (error) {
    throw wrongFile(path, error instanceof DaypassError ? error.message : 'is wrong');
  }
};

const readText = async (path: string): Promise<string> => {
  try {
    const { size } = await stat(path);
    if (size > FILE_BYTES_MAX) throw new Error('it is too large');
    return await readFile(path, 'utf8');
  } catch (cause) {
    const missing = cause instanceof Error && 'code' in cause && cause.code === 'ENOENT';
    const why = cause instanceof Error ? cause.message : 'unknown';
    const message = missing ? 'is not there; "daypass init" makes it' : `cannot be read (${why})`;
    throw new DaypassError('config_invalid', `${path} ${message}`, { cause });
  }
};

const wrongFile = (path: string, message: string): DaypassError =>
  new DaypassError('config_invalid', `${path}: ${message}`);
