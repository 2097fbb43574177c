// A fleet of any size: made small by its operator's means, and made large by a snapshot signed with its own keys.
import { createHash, createPrivateKey, type KeyObject, randomBytes, sign } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { deflateSync } from 'node:zlib';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { encodeBase64url } from '@daypass/core/base64url';
import { controlPaths, dataPaths } from '@daypass/core/home';
import { importEd25519, type PrivateJwk } from '@daypass/core/key';
import { type ServiceConfig, STATUS_CHUNK_BITS } from '@daypass/core/service';
import {
  compareEntries,
  type Entry,
  encodeEntry,
  encodeManifest,
  merkleRoot,
  parseManifest,
  signManifest,
} from '@daypass/core/snapshot';
import { setBit } from '@daypass/core/status';
import { statusUri } from '@daypass/core/token';
import { type Snapshot, SnapshotEntrySchema, SnapshotSchema } from '@daypass/sdk/gen/daypass/v1/snapshot_pb';
import { until } from '../kit/deadline.ts';
import { mint, register } from '../kit/operator.ts';
import { type Fleet, isReady, startFleet } from '../kit/planes.ts';
import { pathOf, ruleOf, type Size } from './flat-rows.ts';

/** Requests of the load's file: always as many, so that the load is the same whatever it rotates over. */
export const LINES = 100_000;

/** A fleet without its control plane, and what to ask it: `TOKEN PATH` a line. */
export type FlatFleet = { readonly fleet: Fleet; readonly lines: readonly string[] };

/** Starts a fleet that holds what the size says. The caller stops it. */
export async function startFlatFleet(size: Size, upstream: string): Promise<FlatFleet> {
  const fleet = await startFleet({
    env: {
      DAYPASS_WORKERS: '1',
      DAYPASS_LOG_LEVEL: 'warn',
      DAYPASS_AUDIT_SPOOL_BYTES: '16GiB',
    },
  });
  try {
    await register(fleet, 'bench', upstream, 'real-credential');
    const rules = size.rules === 0 ? ['GET /repos/acme/{repo}/issues/{n}'] : ['scope:all'];
    if (size.rules > 0) await setScope(fleet, size.rules);
    const model = await mint(fleet, 'bench', rules, ['--ttl', '24h']);
    const before = await snapshotOf(fleet);
    await Promise.all([fleet.data.stop(), fleet.control.stop()]);
    await grow(fleet, before, size);
    await fleet.data.start();
    await until('the large snapshot is active', () => isReady(fleet.adminUrl), 60_000);
    return { fleet, lines: linesOf(size, model, await tokenKey(fleet)) };
  } catch (error) {
    await fleet.stop();
    throw error;
  }
}

const isBench = ({ kind, name }: { readonly kind: string; readonly name: string }) =>
  kind === 'service' && name === 'bench';

async function setScope(fleet: Fleet, count: number): Promise<void> {
  const file = join(fleet.home, 'scope.rules');
  await writeFile(file, Array.from({ length: count }, (_, i) => ruleOf(i)).join('\n'));
  await fleet.must(['service', 'scope', 'set', 'bench', 'all', '--rules-file', file]);
}

const snapshotPath = (fleet: Fleet): string => join(dataPaths(fleet.home).snapshot, 'last-known-good.bin');

/** As it was published: on the node it may lie in deltas. */
async function snapshotOf(fleet: Fleet) {
  const file = join(fleet.home, 'newest.bin');
  await fleet.must(['snapshot', 'pull', '--out', file]);
  return fromBinary(SnapshotSchema, await readFile(file));
}

const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();

/** Puts another snapshot in the place of the node's last known good one, as its control plane would have signed it. */
async function grow(fleet: Fleet, before: Snapshot, size: Size): Promise<void> {
  const last = parseManifest(before.manifest);
  const entries = [...before.entries, ...services(before.entries, size), ...statusChunks(size)].sort(compareEntries);
  const now = Math.floor(Date.now() / 1000);
  const manifest = encodeManifest({
    ...last,
    version: last.version + 2,
    issued_at: now,
    expires_at: now + 86_400,
    root: merkleRoot(entries, sha256),
  });
  const jwk = JSON.parse(await readFile(controlPaths(fleet.home).snapshotKey, 'utf8')) as PrivateJwk;
  const signature = await signManifest(manifest, await importEd25519(jwk, 'sign'));
  const all = entries.map((entry) => create(SnapshotEntrySchema, entry));
  await writeFile(snapshotPath(fleet), toBinary(SnapshotSchema, { ...before, manifest, signature, entries: all }));
}

/** Beside `bench`, more of its like; they take no credential, so that nobody waits for 100,000 of them to be sealed. */
function services(entries: readonly Entry[], size: Size): readonly Entry[] {
  const model = entries.find(isBench);
  if (model === undefined) throw new Error('the snapshot has no service');
  const config = JSON.parse(Buffer.from(model.content).toString()) as ServiceConfig;
  return Array.from({ length: size.services - 1 }, (_, i) => {
    const name = serviceName(i + 1);
    return encodeEntry('service', name, { ...config, name, place: null });
  });
}

const serviceName = (i: number): string => (i === 0 ? 'bench' : `bench-${i}`);

/** The status list chunk that live tokens have their places in, and those with all that is revoked. */
const LIVE_CHUNK = 1000;

function statusChunks({ revoked }: Size): readonly Entry[] {
  const chunks: Entry[] = [];
  for (let first = 0; first < revoked; first += STATUS_CHUNK_BITS / 2) {
    const bits = new Uint8Array(STATUS_CHUNK_BITS / 8);
    // Every other place: those of live tokens lie between them.
    for (let i = first; i < Math.min(revoked, first + STATUS_CHUNK_BITS / 2); i += 1) setBit(bits, (i - first) * 2);
    const chunk = LIVE_CHUNK + chunks.length;
    chunks.push(encodeEntry('status', String(chunk), { bits: 1, lst: encodeBase64url(deflateSync(bits)) }));
  }
  return chunks;
}

const tokenKey = async (fleet: Fleet): Promise<KeyObject> =>
  createPrivateKey({
    key: JSON.parse(await readFile(controlPaths(fleet.home).tokenKey, 'utf8')) as PrivateJwk,
    format: 'jwk',
  });

function linesOf(size: Size, model: string, key: KeyObject): readonly string[] {
  const tokens = Array.from({ length: size.tokens }, (_, i) => like(model, key, i, serviceOf(size, i)));
  // A query that nothing looks at: each request is a text of its own, of the same length, for the load's sake.
  return Array.from({ length: LINES }, (_, i) => {
    const prefix = `/s/${serviceOf(size, i % size.tokens)}`;
    return `${tokens[i % size.tokens]} ${prefix}${pathOf(size, i)}?n=${String(i).padStart(6, '0')}`;
  });
}

const serviceOf = ({ servicesAsked }: Size, token: number): string => serviceName(token % servicesAsked);

/** A token as the control plane would sign it, with an id and a place in the status lists of its own. */
function like(model: string, key: KeyObject, i: number, service: string): string {
  const [header = '', payload = ''] = model.split('.');
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Record<string, unknown>;
  const { jti, iss } = claims as { readonly jti: string; readonly iss: string };
  const places = STATUS_CHUNK_BITS / 2;
  const own = {
    ...claims,
    service,
    jti: randomBytes(64).toString('hex').slice(0, jti.length),
    status: {
      status_list: { idx: (i % places) * 2 + 1, uri: statusUri(iss, LIVE_CHUNK + Math.floor(i / places)) },
    },
  };
  const signed = `${header}.${Buffer.from(JSON.stringify(own)).toString('base64url')}`;
  return `${signed}.${sign(null, Buffer.from(signed), key).toString('base64url')}`;
}
