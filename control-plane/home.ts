// Reads what the control plane is from `control/` of the home: fleet, keys, nodes, the admin's key hash. Nothing else.
import { createPrivateKey, type KeyObject } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
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
import type { SealingKey } from './domain/keys.ts';
import type { SnapshotSigner } from './domain/publisher.ts';
import {
  type EnrolledNode,
  readAdmin,
  readFleet,
  readNodes,
  readPrivateJwk,
  readStatementLists,
  readStatements,
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
  readonly tokenKey: Omit<SigningKey, 'key'> & { readonly key: KeyObject };
  /** What signs manifests, by pool. */
  readonly snapshotSigners: ReadonlyMap<string, SnapshotSigner>;
  /** What credentials are sealed to, by pool. */
  readonly sealingKeys: ReadonlyMap<string, readonly SealingKey[]>;
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
  const tokenKey = await attempt(readTokenKey(paths.tokenKey, log));
  const snapshotKey = await attempt(readSigningKey(paths.snapshotKey, log));
  const statements = await attempt(readJson(paths.snapshotKeyStatement, readStatements));
  const sealing = await attempt(readJson(paths.sealingKeys, readStatementLists));
  const nodes = await attempt(readJson(paths.nodes, readNodes));
  const adminKeyHash = await attempt(readJson(paths.admin, readAdmin));
  const chained = fleet && { ...fleet, now: now() / 1000 };
  const signers =
    chained && snapshotKey && statements && (await attempt(chainSigners(paths, statements, snapshotKey, chained)));
  const sealingKeys = chained && sealing && (await attempt(chainSealing(paths.sealingKeys, sealing, chained)));
  if (!fleet || !tokenKey || !signers || !sealingKeys || !nodes || adminKeyHash === undefined) {
    throw new DaypassError('config_invalid', problems.join('\n'), { field: 'DAYPASS_HOME' });
  }
  checkPools(paths.nodes, nodes, signers);
  return { ...fleet, tokenKey, snapshotSigners: signers, sealingKeys, nodes, adminKeyHash };
};

type Statements = ReadonlyMap<string, SignedKeyBytes>;
type Chained = { readonly fleet: string; readonly root: PublicJwk; readonly now: number };

const chainSigners = async (
  paths: ReturnType<typeof controlPaths>,
  statements: Statements,
  snapshotKey: SigningKey,
  trust: Chained,
): Promise<ReadonlyMap<string, SnapshotSigner>> => {
  const signers = new Map<string, SnapshotSigner>();
  for (const [pool, signed] of statements) {
    const verified = await chain(paths.snapshotKeyStatement, pool, signed, 'snapshot', trust);
    if (verified.jwk.x !== snapshotKey.publicJwk.x) {
      throw wrongFile(paths.snapshotKeyStatement, `"${pool}" is signed for another key than ${paths.snapshotKey}`);
    }
    signers.set(pool, { key: snapshotKey.key, signed });
  }
  if (signers.size === 0) throw wrongFile(paths.snapshotKeyStatement, 'holds no pool');
  return signers;
};

const chainSealing = async (
  path: string,
  lists: ReadonlyMap<string, readonly SignedKeyBytes[]>,
  trust: Chained,
): Promise<ReadonlyMap<string, readonly SealingKey[]>> => {
  const keys = new Map<string, readonly SealingKey[]>();
  for (const [pool, list] of lists) {
    const chained: SealingKey[] = [];
    for (const signed of list) chained.push({ signed, verified: await chain(path, pool, signed, 'seal', trust) });
    keys.set(pool, chained);
  }
  return keys;
};

const chain = async (
  path: string,
  pool: string,
  signed: SignedKeyBytes,
  use: KeyUse,
  trust: Chained,
): Promise<VerifiedKey> => {
  try {
    return await verifySignedKey(signed, { ...trust, use, pool });
  } catch (error) {
    throw wrongFile(path, `"${pool}": ${error instanceof DaypassError ? error.message : 'cannot be verified'}`);
  }
};

const checkPools = (path: string, nodes: readonly EnrolledNode[], signers: ReadonlyMap<string, unknown>): void => {
  const lost = nodes.find(({ pool }) => !signers.has(pool));
  if (lost !== undefined) throw wrongFile(path, `the pool "${lost.pool}" of "${lost.name}" has no snapshot key`);
};

const readSigningKey = async (path: string, log: Log): Promise<SigningKey> =>
  signingKeyOf(path, await readKeyFile(path, log));

/** Tokens are signed by node itself (token-signer.ts). */
const readTokenKey = async (path: string, log: Log): Promise<ControlHome['tokenKey']> => {
  const jwk = await readKeyFile(path, log);
  const { kid, publicJwk } = await signingKeyOf(path, jwk);
  const { kty, crv, x, d } = jwk;
  return { kid, publicJwk, key: createPrivateKey({ format: 'jwk', key: { kty, crv, x, d } }) };
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
