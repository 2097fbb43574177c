// The files of keys that the fleet root has signed, by pool, and how one is changed: as a whole, by one command at a time.
import { open, readFile, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { decodeBase64url, encodeBase64url } from '@daypass/core/base64url';
import { DaypassError } from '@daypass/core/errors';
import { type JsonValue, parseStrictJson, readObject, readString } from '@daypass/core/json';
import {
  type CryptoKey,
  type KeyStatement,
  type PublicJwk,
  type SignedKeyBytes,
  signKeyStatement,
  type VerifiedKey,
  verifyKeyChain,
} from '@daypass/core/key';
import { type File, json, refuse, writeAll } from './home.ts';

/** Signed keys by pool, the one to use first. */
export type SignedKeys = ReadonlyMap<string, readonly SignedKeyBytes[]>;

/** What a change comes to, and files to write beside it: path and text. */
export type KeyChange = {
  readonly keys: SignedKeys;
  readonly files: readonly File[];
};

/**
 * Changes such a file: new files are written first (0600, never over another), then the file is replaced. All or nothing.
 * @throws DaypassError `failed_precondition` when another command changes it, or a file cannot be written
 */
export const changeSignedKeys = async (
  path: string,
  change: (keys: SignedKeys) => Promise<KeyChange>,
): Promise<void> => {
  const fresh = `${path}.new`;
  const advice = 'cannot be made; where no other command is rotating keys, remove it';
  const file = await open(fresh, 'wx', 0o600).catch(refuse(fresh, advice));
  const written = [fresh];
  try {
    const { keys, files } = await change(await readSignedKeys(path));
    await placeAll(files);
    written.push(...files.map(([one]) => one));
    await file.writeFile(json(Object.fromEntries([...keys].map(([pool, list]) => [pool, list.map(textsOf)]))));
    await file.sync();
    await rename(fresh, path).catch(refuse(path, 'cannot be replaced'));
    await keepFolder(path);
  } catch (error) {
    for (const one of written) await rm(one, { force: true });
    throw error;
  } finally {
    await file.close();
  }
};

/**
 * Writes new files (0600) so that whoever watches their folder sees each of them whole; all or none.
 * @throws DaypassError `failed_precondition` naming the file
 */
export const placeAll = async (files: readonly File[]): Promise<void> => {
  const fresh = files.map(([path, text]): File => [`${path}.new`, text]);
  await writeAll(fresh);
  try {
    for (const [path] of files) {
      await rename(`${path}.new`, path).catch(refuse(path, 'cannot be written'));
      await keepFolder(path);
    }
  } catch (error) {
    for (const [path] of [...fresh, ...files]) await rm(path, { force: true });
    throw error;
  }
};

/**
 * Makes the new name of a file outlast a power cut: a key whose private half is lost must not be the one that is sealed to,
 * and an old one goes only when the new list is there. Where folders cannot be made sure of, the system does it in time.
 */
const keepFolder = async (path: string): Promise<void> => {
  const folder = await open(dirname(path), 'r').catch(() => undefined);
  await folder?.sync().catch(() => {});
  await folder?.close().catch(() => {});
};

/** Reads such a file; nothing in it is verified. @throws DaypassError `config_invalid` */
export const readSignedKeys = async (path: string): Promise<SignedKeys> => {
  const object = await readFileOf(path, (value) => readObject(value, 'file'));
  const listOf = (value: JsonValue): readonly JsonValue[] => (Array.isArray(value) ? value : [value]);
  try {
    return new Map(Object.entries(object).map(([pool, value]) => [pool, listOf(value).map(bytesOf)]));
  } catch (cause) {
    throw new DaypassError('config_invalid', `${path} does not hold signed keys`, { cause, field: path });
  }
};

/** Reads a JSON file. @throws DaypassError `config_invalid`, which says nothing of what it holds */
export const readFileOf = async <T>(path: string, parse: (value: JsonValue) => T): Promise<T> => {
  const text = await readFile(path, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    throw new DaypassError('config_invalid', `${path} cannot be read: ${cause.code ?? 'unknown reason'}`, {
      field: path,
    });
  });
  try {
    return parse(parseStrictJson(text));
  } catch {
    throw new DaypassError('config_invalid', `${path} does not hold what it should`, { field: path });
  }
};

/** What the root says of each key of a list. @throws DaypassError `key_untrusted` */
export const verifyList = (
  list: readonly SignedKeyBytes[],
  root: PublicJwk,
): Promise<readonly { readonly signed: SignedKeyBytes; readonly key: VerifiedKey }[]> =>
  Promise.all(list.map(async (signed) => ({ signed, key: await verifyKeyChain(signed, root) })));

/** Signs a key for a pool. */
export const vouch = (statement: Omit<KeyStatement, 'v'>, root: CryptoKey): Promise<SignedKeyBytes> =>
  signKeyStatement({ v: 1, ...statement }, root);

const bytesOf = (value: JsonValue): SignedKeyBytes => {
  const object = readObject(value, 'key');
  const bytes = (name: string): Uint8Array => decodeBase64url(readString(object[name], name));
  return { statement: bytes('statement'), signature: bytes('signature') };
};

const textsOf = ({ statement, signature }: SignedKeyBytes) => ({
  statement: encodeBase64url(statement),
  signature: encodeBase64url(signature),
});
