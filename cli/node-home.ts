// The data plane's part of a home as `daypass node enroll` makes it: the key first, and the rest when the fleet has taken it.
import { rm } from 'node:fs/promises';
import { DaypassError } from '@daypass/core/errors';
import { dataPaths } from '@daypass/core/home';
import type { GeneratedKey, PublicJwk } from '@daypass/core/key';
import { at, exists, type HomeFolders, json, makeFolder, writeAll } from './home.ts';

/** Who the node is and whom it trusts. */
export type NodeIdentity = {
  readonly fleet: string;
  readonly root: PublicJwk;
  readonly pool: string;
  readonly name: string;
};

/** A home that waits for its node. */
export type PendingHome = {
  /** Writes who the node is. @throws DaypassError `failed_precondition`; then nothing is left of it */
  readonly complete: (node: NodeIdentity) => Promise<void>;
  /** Takes back what was written. */
  readonly abandon: () => Promise<void>;
  /** Where the keys go that open the pool's credentials. */
  readonly sealing: string;
};

/**
 * Makes the folders and writes the node's key, 0600, so that a disk that cannot be written is found before a token is used.
 * @throws DaypassError `failed_precondition` where there is a node already, or a file cannot be written
 */
export const beginNodeHome = async (folders: HomeFolders, key: GeneratedKey): Promise<PendingHome> => {
  const paths = dataPaths(folders.home);
  const [fleet, node, nodeKey] = [at(paths.fleet, folders), at(paths.node, folders), at(paths.nodeKey, folders)];
  for (const file of [fleet, node, nodeKey]) {
    if (!(await exists(file))) continue;
    const message = `${file} is there already: this is a node, and it is left as it is`;
    throw new DaypassError('failed_precondition', message, { field: file });
  }
  const sealing = at(paths.sealing, folders);
  for (const folder of [at(paths.folder, folders), sealing]) await makeFolder(folder);
  await writeAll([[nodeKey, json(key.privateJwk)]]);
  const abandon = () => rm(nodeKey, { force: true });
  return {
    sealing,
    abandon,
    complete: async ({ fleet: uri, root, pool, name }) => {
      const { kty, crv, x } = root;
      try {
        await writeAll([
          [fleet, json({ v: 1, fleet: uri, root: { kty, crv, x } })],
          [node, json({ v: 1, name, pool })],
        ]);
      } catch (error) {
        await abandon();
        throw error;
      }
    },
  };
};
