// Reads what this node is from its home folder: fleet, name, own key, the keys that open seals.
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { DaypassError } from '@daypass/core/errors';
import { dataPaths, isFleet } from '@daypass/core/home';
import { type JsonValue, parseStrictJson, readObject, readString, refuseUnknown } from '@daypass/core/json';
import {
  type CryptoKey,
  importEd25519,
  importX25519,
  type PrivateJwk,
  type PublicJwk,
  readPublicJwk,
} from '@daypass/core/key';
import type { Log } from './log.ts';

const FILE_BYTES_MAX = 65_536;
const SEALING_KEYS_MAX = 64;
const NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

export type DataHome = {
  /** The fleet's URI: the audience of tokens. */
  readonly fleet: string;
  /** The pinned fleet root. */
  readonly root: PublicJwk;
  readonly node: string;
  readonly pool: string;
  /** Signs Watch, Report and Ingest. */
  readonly nodeKey: CryptoKey;
  /** Private keys that open seals, by `kid`. */
  readonly unsealKeys: ReadonlyMap<string, CryptoKey>;
  /** Where they lie. */
  readonly sealingFolder: string;
  readonly snapshotFolder: string;
  readonly spoolFolder: string;
};

/** Reads `data/` of the home. Throws `config_invalid` with one line for each file that is wrong, naming its member. */
export async function readDataHome(home: string, log: Log): Promise<DataHome> {
  const paths = dataPaths(home);
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
  const node = await attempt(readJson(paths.node, readNode));
  const nodeKey = await attempt(readPrivate(paths.nodeKey, 'Ed25519', log));
  const unsealKeys = await attempt(readSealing(paths.sealing, log));
  if (fleet === undefined || node === undefined || nodeKey === undefined || unsealKeys === undefined)
    throw new DaypassError('config_invalid', problems.join('\n'), { field: 'DAYPASS_HOME' });
  return {
    ...fleet,
    ...node,
    nodeKey: nodeKey.key,
    unsealKeys,
    sealingFolder: paths.sealing,
    snapshotFolder: paths.snapshot,
    spoolFolder: paths.spool,
  };
}

function readFleet(value: JsonValue): Pick<DataHome, 'fleet' | 'root'> {
  const object = readObject(value, 'file');
  refuseUnknown(object, ['v', 'fleet', 'root'], 'file');
  checkVersion(object.v);
  const fleet = readString(object.fleet, 'fleet');
  if (!isFleet(fleet)) throw wrong('"fleet" is not a fleet URI');
  return { fleet, root: readPublicJwk(object.root, 'Ed25519', 'root') };
}

function readNode(value: JsonValue): Pick<DataHome, 'node' | 'pool'> {
  const object = readObject(value, 'file');
  refuseUnknown(object, ['v', 'name', 'pool'], 'file');
  checkVersion(object.v);
  const [node, pool] = [readString(object.name, 'name'), readString(object.pool, 'pool')];
  if (!NAME.test(node)) throw wrong('"name" is not 1 to 63 lower-case letters, digits and inner hyphens');
  if (!NAME.test(pool)) throw wrong('"pool" is not 1 to 63 lower-case letters, digits and inner hyphens');
  return { node, pool };
}

/** Reads the folder of sealing keys. Throws `config_invalid` for one that is wrong, naming its file. */
export async function readSealing(folder: string, log: Log): Promise<ReadonlyMap<string, CryptoKey>> {
  const names = (await listFolder(folder)).filter((name) => name.endsWith('.jwk'));
  if (names.length > SEALING_KEYS_MAX)
    throw new DaypassError('config_invalid', `${folder}: there are more than ${SEALING_KEYS_MAX} sealing keys`);
  const keys = await Promise.all(names.map((name) => readPrivate(join(folder, name), 'X25519', log)));
  if (keys.length === 0) log.warn('there are no sealing keys: no credential can be opened here', { folder });
  return new Map(keys.map(({ kid, key }) => [kid, key]));
}

async function readPrivate(path: string, crv: 'Ed25519' | 'X25519', log: Log) {
  const jwk = await readJson(path, (value) => readPrivateJwk(value, crv));
  const { mode } = await stat(path);
  if ((mode & 0o077) !== 0 && process.platform !== 'win32')
    log.warn('a private key can be read by others; its mode should be 0600', { file: path });
  try {
    const key = await (crv === 'Ed25519' ? importEd25519(jwk, 'sign') : importX25519(jwk, 'open'));
    return { kid: jwk.kid ?? basename(path, '.jwk'), key };
  } catch {
    // The cause is dropped: it may quote the key.
    throw new DaypassError('config_invalid', `${path}: "d" and "x" are not a ${crv} key pair`);
  }
}

function readPrivateJwk(value: JsonValue, crv: 'Ed25519' | 'X25519'): PrivateJwk {
  const { d, ...open } = readObject(value, 'file');
  return { ...readPublicJwk(open, crv, 'file'), d: readString(d, 'd') };
}

/** Reads a JSON file; what is wrong with it is said with its path, and never with what it holds. */
async function readJson<T>(path: string, parse: (value: JsonValue) => T): Promise<T> {
  const text = await readText(path);
  try {
    return parse(parseStrictJson(text));
  } catch (error) {
    throw new DaypassError('config_invalid', `${path}: ${error instanceof DaypassError ? error.message : 'is wrong'}`);
  }
}

async function readText(path: string): Promise<string> {
  try {
    const { size } = await stat(path);
    if (size > FILE_BYTES_MAX) throw new Error('it is too large');
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw unreadable(path, cause);
  }
}

async function listFolder(path: string): Promise<readonly string[]> {
  try {
    return (await readdir(path)).sort();
  } catch (cause) {
    throw unreadable(path, cause);
  }
}

function unreadable(path: string, cause: unknown): DaypassError {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  const why =
    code === 'ENOENT'
      ? 'is not there; "daypass init" or "daypass node enroll" makes it'
      : `cannot be read (${reasonOf(cause)})`;
  return new DaypassError('config_invalid', `${path} ${why}`, { cause });
}

const reasonOf = (cause: unknown): string => (cause instanceof Error ? cause.message : 'unknown');

function checkVersion(version: JsonValue | undefined): void {
  if (version !== 1) throw wrong('"v" is not 1');
}

const wrong = (message: string): DaypassError => new DaypassError('invalid_json', message);
