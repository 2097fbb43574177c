// The data plane's part of a home as `daypass node enroll` makes it: the key first, and the rest when the fleet has taken it.
import { readFile, rm } from 'node:fs/promises';
import { DaypassError } from '@daypass/core/errors';
import { dataPaths } from '@daypass/core/home';
import { parseStrictJson, readObject, readString } from '@daypass/core/json';
import { generateSigningKey, importEd25519, type PrivateJwk, type PublicJwk, readPublicJwk } from '@daypass/core/key';
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
  /** The node's own key. */
  readonly key: PrivateJwk;
  /** Writes who the node is. @throws DaypassError `failed_precondition`; then it can be tried again */
  readonly complete: (node: NodeIdentity) => Promise<void>;
  /** Takes back the key, unless it was there before. */
  readonly abandon: () => Promise<void>;
  /** Where the keys go that open the pool's credentials. */
  readonly sealing: string;
};

/**
 * Makes the folders and the node's key, 0600, before a token is used: whatever breaks off after that can be taken up again
 * with the same key, and so is what an earlier try left.
 * @throws DaypassError `failed_precondition` where there is a node already, or a file cannot be read or written
 */
export const beginNodeHome = async (folders: HomeFolders): Promise<PendingHome> => {
  const paths = dataPaths(folders.home);
  const [fleet, node, nodeKey] = [at(paths.fleet, folders), at(paths.node, folders), at(paths.nodeKey, folders)];
  const begun = await exists(nodeKey);
  for (const file of begun ? [node] : [fleet, node]) {
    if (!(await exists(file))) continue;
    throw failed(file, 'is there already: this is a node, and it is left as it is');
  }
  const sealing = at(paths.sealing, folders);
  for (const folder of [at(paths.folder, folders), sealing]) await makeFolder(folder);
  const key = begun ? await readKey(nodeKey) : await makeKey(nodeKey);
  return {
    key,
    sealing,
    abandon: async () => {
      if (!begun) await rm(nodeKey, { force: true });
    },
    // `node.json` comes last: where it is, all is.
    complete: async ({ fleet: uri, root: { kty, crv, x }, pool, name }) => {
      const fleetText = json({ v: 1, fleet: uri, root: { kty, crv, x } });
      const files = [[node, json({ v: 1, name, pool })]] as const;
      if (!(await exists(fleet))) await writeAll([[fleet, fleetText], ...files]);
      else if ((await readFile(fleet, 'utf8')) === fleetText) await writeAll(files);
      else throw failed(fleet, 'is there already, and is of another fleet');
    },
  };
};

const makeKey = async (file: string): Promise<PrivateJwk> => {
  const { privateJwk } = await generateSigningKey();
  await writeAll([[file, json(privateJwk)]]);
  return privateJwk;
};

const readKey = async (file: string): Promise<PrivateJwk> => {
  try {
    const { d, ...open } = readObject(parseStrictJson(await readFile(file, 'utf8')), 'file');
    const jwk = { ...readPublicJwk(open, 'Ed25519', 'file'), d: readString(d, 'd') };
    await importEd25519(jwk, 'sign');
    return jwk;
  } catch {
    // The cause is dropped: it may quote the key.
    throw failed(file, 'is there already, and is no key that an enrolment could go on with');
  }
};

const failed = (file: string, what: string): DaypassError =>
  new DaypassError('failed_precondition', `${file} ${what}`, { field: file });
