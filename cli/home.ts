// The home folder on disk: whether one is there, and making one with all its keys.
import { createHash, randomBytes } from 'node:crypto';
import { access, chmod, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { formatApiKey } from '@daypass/core/api-key';
import { encodeBase64url } from '@daypass/core/base64url';
import { DaypassError } from '@daypass/core/errors';
import { controlPaths, dataPaths, rootPaths, sealingKeyPath } from '@daypass/core/home';
import {
  fingerprint,
  type GeneratedKey,
  generateSealingKey,
  generateSigningKey,
  importEd25519,
  type KeyUse,
  signKeyStatement,
} from '@daypass/core/key';

/** Where the three parts of a home lie; normally `root`, `control` and `data` under it. */
export type HomeFolders = {
  readonly home: string;
  readonly rootDir?: string | undefined;
  readonly controlDir?: string | undefined;
  readonly dataDir?: string | undefined;
};

/** What is there of a home. `apart` are files that may be kept elsewhere. */
export type HomeState =
  | { readonly kind: 'absent' }
  | { readonly kind: 'whole'; readonly apart: readonly string[] }
  | { readonly kind: 'partial'; readonly missing: readonly string[] };

/** What was made. */
export type MadeHome = { readonly fleet: string; readonly rootFingerprint: string };

const POOL = 'default';
const NODE = 'node-1';
/** How long a key is good that the root signs. */
export const TEN_YEARS_SECONDS = 10 * 366 * 24 * 60 * 60;

/** Looks at a home without opening anything in it. */
export const inspectHome = async (folders: HomeFolders): Promise<HomeState> => {
  const root = rootPaths(folders.home);
  const control = controlPaths(folders.home);
  const data = dataPaths(folders.home);
  const needed = [
    root.publicKey,
    ...[control.fleet, control.snapshotKeyStatement, control.sealingKeys, control.nodes, control.admin],
    ...[data.fleet, data.node, data.nodeKey],
  ];
  // The fleet root's private key and the admin key are for people: they may be taken away to a safer place.
  const apart = await absent([root.key, control.adminKey], folders);
  const missing = await absent(needed, folders);
  // Rotated keys lie in folders; the first one may be gone by then.
  const either = [
    [control.tokenKey, control.tokenKeys],
    [control.snapshotKey, control.snapshotKeys],
    [undefined, data.sealing],
  ] as const;
  for (const [first, folder] of either) {
    const isThere = first !== undefined && (await exists(at(first, folders)));
    if (!isThere && !(await hasFile(at(folder, folders))))
      missing.push(first === undefined ? `${at(folder, folders)}/<kid>.jwk` : at(first, folders));
  }
  if (missing.length === 0) return { kind: 'whole', apart };
  const nothing = missing.length === needed.length + either.length && apart.length === 2;
  const database = await absent([control.database], folders);
  return nothing && database.length === 1 ? { kind: 'absent' } : { kind: 'partial', missing };
};

/**
 * Makes a home: folders 0700, files 0600. Nothing is overwritten; when a file cannot be written, those already written
 * are removed again.
 * @throws DaypassError `failed_precondition` naming the file
 */
export const makeHome = async (
  folders: HomeFolders,
  options: { readonly fleet?: string | undefined; readonly nowSeconds: number },
): Promise<MadeHome> => {
  const fleet = options.fleet ?? `urn:daypass:fleet:${encodeBase64url(randomBytes(16))}`;
  const { files, rootFingerprint } = await composeHome(folders.home, fleet, options.nowSeconds);
  const data = dataPaths(folders.home);
  const containers = [rootPaths(folders.home).folder, controlPaths(folders.home).folder, data.folder];
  for (const folder of [...containers, data.sealing, data.snapshot, data.spool]) await makeFolder(at(folder, folders));
  await writeAll(files.map(([path, text]) => [at(path, folders), text]));
  return { fleet, rootFingerprint };
};

/** A file to be written. */
export type File = readonly [path: string, text: string];

/** Makes all keys and signatures, and says which file holds what. */
const composeHome = async (home: string, fleet: string, nowSeconds: number) => {
  const root = await generateSigningKey();
  const tokenKey = await generateSigningKey();
  const snapshotKey = await generateSigningKey();
  const nodeKey = await generateSigningKey();
  const sealingKey = await generateSealingKey();
  const vouch = await voucher(root, fleet, Math.floor(nowSeconds) + TEN_YEARS_SECONDS);
  const adminKey = formatApiKey(randomBytes(32));
  const fleetFile = json({ v: 1, fleet, root: root.publicJwk });
  const control = controlPaths(home);
  const data = dataPaths(home);
  const files: readonly File[] = [
    [rootPaths(home).key, json(root.privateJwk)],
    [rootPaths(home).publicKey, json(root.publicJwk)],
    [control.fleet, fleetFile],
    [control.tokenKey, json(tokenKey.privateJwk)],
    [control.snapshotKey, json(snapshotKey.privateJwk)],
    [control.snapshotKeyStatement, json({ [POOL]: await vouch(snapshotKey, 'snapshot') })],
    [control.sealingKeys, json({ [POOL]: [await vouch(sealingKey, 'seal')] })],
    [control.nodes, json({ v: 1, nodes: [{ name: NODE, pool: POOL, jwk: nodeKey.publicJwk }] })],
    [control.admin, json({ v: 1, key_hash: createHash('sha256').update(adminKey).digest('hex') })],
    [control.adminKey, `${adminKey}\n`],
    [data.fleet, fleetFile],
    [data.node, json({ v: 1, name: NODE, pool: POOL })],
    [data.nodeKey, json(nodeKey.privateJwk)],
    [sealingKeyPath(home, sealingKey.kid), json(sealingKey.privateJwk)],
  ];
  return { files, rootFingerprint: await fingerprint(root.publicJwk) };
};

/** Signs key statements with the fleet root. */
const voucher = async (root: GeneratedKey, fleet: string, notAfter: number) => {
  const signer = await importEd25519(root.privateJwk, 'sign');
  return async ({ kid, publicJwk }: GeneratedKey, use: KeyUse) => {
    const statement = { v: 1, fleet, pool: POOL, use, kid, jwk: publicJwk, not_after: notAfter } as const;
    const signed = await signKeyStatement(statement, signer);
    return { statement: encodeBase64url(signed.statement), signature: encodeBase64url(signed.signature) };
  };
};

/** A folder that only its owner may enter. An existing one, such as a fresh volume, is closed to others. */
export const makeFolder = async (folder: string): Promise<void> => {
  await mkdir(folder, { recursive: true, mode: 0o700 }).catch(refuse(folder, 'cannot be made'));
  await chmod(folder, 0o700).catch(refuse(folder, 'cannot be closed to others'));
};

/** Writes files that are not there, 0600; all or none. @throws DaypassError `failed_precondition` naming the file */
export const writeAll = async (files: readonly File[]): Promise<void> => {
  const written: string[] = [];
  try {
    for (const [path, text] of files) {
      await makeFolder(dirname(path));
      await writeFile(path, text, { flag: 'wx', mode: 0o600, flush: true }).catch(refuse(path, 'cannot be written'));
      written.push(path);
    }
  } catch (error) {
    for (const path of written) await rm(path, { force: true });
    throw error;
  }
};

/** Says of a file what cannot be done with it. @throws DaypassError `failed_precondition` */
export const refuse = (path: string, what: string) => (cause: NodeJS.ErrnoException) => {
  throw new DaypassError('failed_precondition', `${path} ${what}: ${cause.code ?? 'unknown reason'}`, {
    cause,
    field: path,
  });
};

/** Where a path of the home really lies, given folders of their own. */
export const at = (path: string, { home, rootDir, controlDir, dataDir }: HomeFolders): string => {
  const moved = [
    [rootPaths(home).folder, rootDir],
    [controlPaths(home).folder, controlDir],
    [dataPaths(home).folder, dataDir],
  ] as const;
  for (const [folder, instead] of moved)
    if (instead !== undefined && (path === folder || path.startsWith(`${folder}/`)))
      return instead + path.slice(folder.length);
  return path;
};

const absent = async (paths: readonly string[], folders: HomeFolders): Promise<string[]> => {
  const places = paths.map((path) => at(path, folders));
  const there = await Promise.all(places.map(exists));
  return places.filter((_, index) => there[index] !== true);
};

/** @throws DaypassError `failed_precondition` where the folder cannot be looked into */
export const exists = async (path: string): Promise<boolean> => {
  try {
    await access(path);
    return true;
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
    if (code === 'ENOENT' || code === 'ENOTDIR') return false;
    throw new DaypassError('failed_precondition', `${path} cannot be read: ${String(code)}`, { cause, field: path });
  }
};

const hasFile = async (folder: string): Promise<boolean> =>
  (await exists(folder)) && (await readdir(folder)).some((name) => name.endsWith('.jwk'));

/** JSON as the files of a home hold it. */
export const json = (value: unknown): string => `${JSON.stringify(value, undefined, 2)}\n`;
