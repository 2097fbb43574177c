// Where everything lies under the home folder: names only, nothing is opened here.

import { DaypassError } from './errors.ts';

/** `root/`: the fleet root, kept apart from both planes. */
export const rootPaths = (home: string) => {
  const folder = `${home}/root`;
  return {
    folder,
    /** Private Ed25519 JWK. */
    key: `${folder}/fleet-root.jwk`,
    /** Its public half: what the SDK and the CLI pin. */
    publicKey: `${folder}/fleet-root.pub.jwk`,
  } as const;
};

/** `control/`: all that the control plane reads, and the admin API key for the CLI. */
export const controlPaths = (home: string) => {
  const folder = `${home}/control`;
  return {
    folder,
    fleet: `${folder}/fleet.json`,
    /** Private Ed25519 JWK that signs tokens: the one that `init` makes. */
    tokenKey: `${folder}/token-key.jwk`,
    /** Folder of those that came after it, `<kid>.jwk`. */
    tokenKeys: `${folder}/token-keys`,
    /** Private Ed25519 JWK that signs manifests: the one that `init` makes. */
    snapshotKey: `${folder}/snapshot-key.jwk`,
    /** Folder of those that came after it, `<kid>.jwk`. */
    snapshotKeys: `${folder}/snapshot-keys`,
    /** The root's signatures over the snapshot keys, by pool: one, or a list with the one to sign with first. */
    snapshotKeyStatement: `${folder}/snapshot-key.json`,
    /** Public, root-signed sealing keys, by pool, the one to seal to first. */
    sealingKeys: `${folder}/sealing-keys.json`,
    nodes: `${folder}/nodes.json`,
    /** The admin API key's hash. */
    admin: `${folder}/admin.json`,
    /** The admin API key itself: for the CLI only. */
    adminKey: `${folder}/admin.key`,
    database: `${folder}/daypass.db`,
  } as const;
};

/** `data/`: all that a data plane reads and writes. */
export const dataPaths = (home: string) => {
  const folder = `${home}/data`;
  return {
    folder,
    fleet: `${folder}/fleet.json`,
    node: `${folder}/node.json`,
    /** Private Ed25519 JWK for Watch, Report and Ingest. */
    nodeKey: `${folder}/node.jwk`,
    /** Folder of the private X25519 JWKs that open seals. */
    sealing: `${folder}/sealing`,
    snapshot: `${folder}/snapshot`,
    spool: `${folder}/spool`,
  } as const;
};

/** Whether a text can name a fleet: a URI (RFC 3986) of at most 200 visible characters after its scheme. */
export const isFleet = (text: string): boolean => /^[a-z][a-z0-9+.-]*:[!-~]{1,200}$/.test(text);

/**
 * The file of one private sealing key.
 * @throws DaypassError `invalid_argument` for a `kid` that is not a plain base64url text
 */
export const sealingKeyPath = (home: string, kid: string): string => keyFile(dataPaths(home).sealing, kid);

/**
 * The file of a private key in a folder of such.
 * @throws DaypassError `invalid_argument` for a `kid` that is not a plain base64url text
 */
export const keyFile = (folder: string, kid: string): string => {
  if (!KID.test(kid)) throw new DaypassError('invalid_argument', 'a key id is base64url text', { field: 'kid' });
  return `${folder}/${kid}.jwk`;
};

const KID = /^[A-Za-z0-9_-]{1,128}$/;
