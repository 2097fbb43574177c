// A fleet for attacks on snapshots: its keys, snapshots signed as an attacker would like them, and a whole node that is told them.
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { dataPaths } from '@daypass/core/home';
import {
  type GeneratedKey,
  generateSigningKey,
  importEd25519,
  type KeyStatement,
  signKeyStatement,
} from '@daypass/core/key';
import {
  type Entry,
  encodeEntry,
  encodeManifest,
  type Manifest,
  manifestDigest,
  merkleRoot,
  parseManifest,
  signManifest,
} from '@daypass/core/snapshot';
import { signToken, statusUri } from '@daypass/core/token';
import {
  type Snapshot,
  type SnapshotDelta,
  SnapshotDeltaSchema,
  SnapshotSchema,
} from '@daypass/sdk/gen/daypass/v1/snapshot_pb';
import { startDataPlane } from '../../data-plane/app.ts';
import { parseConfig } from '../../data-plane/config.ts';
import { createLog } from '../../data-plane/log.ts';
import { serviceConfig } from '../data-plane/service-config.ts';
import { frameOf } from '../kit/fake-control.ts';

export const FLEET = 'urn:daypass:fleet:AAAAAAAAAAAAAAAAAAAAAA';
export const POOL = 'default';
const ISSUER = 'https://control.example';

export const [root, snapshotKey, tokenKey, nodeKey, stranger] = await Promise.all([
  generateSigningKey(),
  generateSigningKey(),
  generateSigningKey(),
  generateSigningKey(),
  generateSigningKey(),
]);

const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();

/** What differs from an honest snapshot. */
export type Change = {
  readonly manifest?: Partial<Manifest>;
  /** What becomes of the manifest's text before it is signed. */
  readonly spell?: (text: string) => string;
  readonly entries?: readonly Entry[];
  readonly statement?: Partial<KeyStatement>;
  /** Signs in place of the snapshot key, and of the fleet root. */
  readonly signer?: GeneratedKey;
  readonly root?: GeneratedKey;
};

/** Hex sha256 of a snapshot's manifest. */
export const digestOf = ({ manifest }: Snapshot): string => manifestDigest(manifest, sha256);

/** A message of a stream that brings a snapshot. */
export const bringing = (snapshot: Snapshot): Uint8Array => frameOf({ event: { case: 'snapshot', value: snapshot } });

/** Services at an origin that take no credential, and the key of tokens. */
export function entriesOf(origin: string, names: readonly string[] = ['api']): readonly Entry[] {
  const { kid, publicJwk } = tokenKey;
  const { kty, crv, x } = publicJwk;
  const services = names.map((name) => encodeEntry('service', name, serviceConfig({ name, origin, place: null })));
  return [encodeEntry('key', kid, { kid, alg: 'Ed25519', issuer: ISSUER, jwk: { kty, crv, x } }), ...services];
}

/** A signed snapshot of that version; its lease is an hour. */
export async function signSnapshot(version: number, change: Change = {}): Promise<Snapshot> {
  const { entries = [], spell = (text: string) => text } = change;
  const now = Math.floor(Date.now() / 1000);
  const honest = encodeManifest({
    v: 1,
    fleet: FLEET,
    pool: POOL,
    version,
    previous: '',
    issued_at: now,
    expires_at: now + 3_600,
    features: [],
    root: merkleRoot(entries, sha256),
    ...change.manifest,
  });
  const manifest = new TextEncoder().encode(spell(new TextDecoder().decode(honest)));
  const { kid, publicJwk: jwk } = snapshotKey;
  const statement: KeyStatement = {
    v: 1,
    fleet: FLEET,
    pool: POOL,
    use: 'snapshot',
    kid,
    jwk,
    not_after: now + 86_400,
  };
  const rootKey = await importEd25519((change.root ?? root).privateJwk, 'sign');
  const key = await signKeyStatement({ ...statement, ...change.statement }, rootKey);
  const signature = await signManifest(
    manifest,
    await importEd25519((change.signer ?? snapshotKey).privateJwk, 'sign'),
  );
  return create(SnapshotSchema, { manifest, signature, key, entries: [...entries] });
}

/** What leads from a snapshot to the one of the next version that holds these entries. */
export async function signDelta(
  base: Snapshot,
  entries: readonly Entry[],
  change: Change = {},
): Promise<SnapshotDelta> {
  const { version } = parseManifest(base.manifest);
  const manifest = { previous: digestOf(base), ...change.manifest };
  const next = await signSnapshot(version + 1, { ...change, entries, manifest });
  const found = (all: readonly Entry[], { kind, name }: Pick<Entry, 'kind' | 'name'>) =>
    all.find((one) => one.kind === kind && one.name === name);
  const isSame = (one: Entry): boolean =>
    Buffer.compare(found(base.entries, one)?.content ?? Buffer.of(), one.content) === 0;
  return create(SnapshotDeltaSchema, {
    ...{ manifest: next.manifest, signature: next.signature, ...(next.key === undefined ? {} : { key: next.key }) },
    baseVersion: BigInt(version),
    baseDigest: digestOf(base),
    changed: entries.filter((one) => !isSame(one)),
    removed: base.entries.filter((one) => found(entries, one) === undefined).map(({ kind, name }) => ({ kind, name })),
  });
}

/** A message of a stream that brings a delta. */
export const bringingDelta = (delta: SnapshotDelta): Uint8Array => frameOf({ event: { case: 'delta', value: delta } });

/** A token for a service, whatever it asks. */
export async function mint(service = 'api'): Promise<string> {
  const iat = Math.floor(Date.now() / 1000);
  const claims = {
    ...{ iss: ISSUER, aud: FLEET, sub: 'bot', client_id: 'bot', caller: 'ci', jti: crypto.randomUUID(), iat, nbf: iat },
    ...{ exp: iat + 900, service, allowed: ['GET /**'], scope_version: 1 },
    status: { status_list: { idx: 1, uri: statusUri(ISSUER, 0) } },
  };
  return signToken(claims, { kid: tokenKey.kid, key: await importEd25519(tokenKey.privateJwk, 'sign') });
}

/** A node that runs, and can be ended and started again on its home. */
export type Node = {
  readonly home: string;
  readonly url: string;
  /** Lines of its log. */
  readonly logged: readonly string[];
  /** The status that a request gets, and the code if it is refused. */
  ask(token: string, service?: string): Promise<readonly [number, string]>;
  isReady(): Promise<boolean>;
  [Symbol.asyncDispose](): Promise<void>;
};

/** Makes the home of a node, in a folder. */
export async function makeHome(folder = tmpdir()): Promise<string> {
  const home = await mkdtemp(join(folder, 'daypass-attack-'));
  const paths = dataPaths(home);
  await mkdir(paths.sealing, { recursive: true, mode: 0o700 });
  const write = (path: string, content: unknown) => writeFile(path, JSON.stringify(content), { mode: 0o600 });
  await write(paths.fleet, { v: 1, fleet: FLEET, root: root.publicJwk });
  await write(paths.node, { v: 1, name: 'node-1', pool: POOL });
  await write(paths.nodeKey, nodeKey.privateJwk);
  return home;
}

/** Starts a whole node, with one worker. Its home goes with it, unless it was given one. */
export async function startNode(controlUrl: string, given?: string): Promise<Node> {
  const home = given ?? (await makeHome());
  const logged: string[] = [];
  const config = parseConfig({
    DAYPASS_HOME: home,
    DAYPASS_DATA_LISTEN: '127.0.0.1:0',
    DAYPASS_DATA_ADMIN_LISTEN: '127.0.0.1:0',
    DAYPASS_CONTROL_URL: controlUrl,
    DAYPASS_ALLOW_UPSTREAM_RANGES: '127.0.0.1/32',
    DAYPASS_WORKERS: '1',
  });
  const plane = await startDataPlane(
    config,
    createLog('debug', (line) => logged.push(line)),
  );
  return {
    home,
    url: plane.listen,
    logged,
    async ask(token, service = 'api') {
      const answer = await fetch(`${plane.listen}/s/${service}/x`, { headers: { authorization: `Bearer ${token}` } });
      await answer.arrayBuffer();
      return [answer.status, answer.headers.get('daypass-refusal') ?? ''];
    },
    isReady: async () => (await fetch(`${plane.admin}/readyz`)).status === 200,
    async [Symbol.asyncDispose]() {
      await plane.close();
      if (given === undefined) await rm(home, { recursive: true, force: true });
    },
  };
}
