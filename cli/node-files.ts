// What a data plane's part of a home holds, for commands that act as the node does: who it is, and the keys that open seals.
import { readdir } from 'node:fs/promises';
import { basename } from 'node:path';
import { DaypassError } from '@daypass/core/errors';
import { dataPaths } from '@daypass/core/home';
import { type JsonValue, readObject, readString } from '@daypass/core/json';
import {
  type CryptoKey,
  importEd25519,
  importX25519,
  type PrivateJwk,
  type PublicJwk,
  readPublicJwk,
} from '@daypass/core/key';
import { at, type HomeFolders } from './home.ts';
import { readFileOf } from './signed-keys.ts';

/** A node and its keys. */
export type NodeFiles = {
  readonly fleet: string;
  /** The pinned fleet root. */
  readonly root: PublicJwk;
  readonly node: string;
  readonly pool: string;
  readonly nodeKey: CryptoKey;
  /** By `kid`. */
  readonly unsealKeys: ReadonlyMap<string, CryptoKey>;
};

/** Reads them. @throws DaypassError `config_invalid` naming the file */
export const readNodeFiles = async (folders: HomeFolders): Promise<NodeFiles> => {
  const paths = dataPaths(folders.home);
  const fleet = await readFileOf(at(paths.fleet, folders), (value) => {
    const object = readObject(value, 'file');
    return { fleet: readString(object.fleet, 'fleet'), root: readPublicJwk(object.root, 'Ed25519', 'root') };
  });
  const node = await readFileOf(at(paths.node, folders), (value) => {
    const object = readObject(value, 'file');
    return { node: readString(object.name, 'name'), pool: readString(object.pool, 'pool') };
  });
  const nodeKey = await readFileOf(at(paths.nodeKey, folders), (value) => readPrivate(value, 'Ed25519'));
  const unsealKeys = await readSealing(at(paths.sealing, folders));
  return { ...fleet, ...node, nodeKey: await importEd25519(nodeKey, 'sign'), unsealKeys };
};

const readSealing = async (folder: string): Promise<ReadonlyMap<string, CryptoKey>> => {
  const names = await readdir(folder).catch((cause: NodeJS.ErrnoException) => {
    throw new DaypassError('config_invalid', `${folder} cannot be read: ${cause.code ?? 'unknown reason'}`);
  });
  const keys = names
    .filter((name) => name.endsWith('.jwk'))
    .map(async (name) => {
      const jwk = await readFileOf(`${folder}/${name}`, (value) => readPrivate(value, 'X25519'));
      return [jwk.kid ?? basename(name, '.jwk'), await importX25519(jwk, 'open')] as const;
    });
  return new Map(await Promise.all(keys));
};

const readPrivate = (value: JsonValue, crv: 'Ed25519' | 'X25519'): PrivateJwk => {
  const { d, ...open } = readObject(value, 'file');
  return { ...readPublicJwk(open, crv, 'file'), d: readString(d, 'd') };
};
