// A data server of its own for each test: real keys, a real signed snapshot, real tokens and seals, and doubles for audit and clock.

import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { deflateSync } from 'node:zlib';
import { createUpstreamPolicy } from '@daypass/core/address';
import { encodeBase64url } from '@daypass/core/base64url';
import { DaypassError } from '@daypass/core/errors';
import {
  type GeneratedKey,
  generateSealingKey,
  generateSigningKey,
  importEd25519,
  importX25519,
  signKeyStatement,
} from '@daypass/core/key';
import { ALL_REQUESTS, ANY_CALLER, type SealPlaintext, sealCredential } from '@daypass/core/seal';
import type { CutOffEntry, ServiceConfig } from '@daypass/core/service';
import { STATUS_CHUNK_BITS } from '@daypass/core/service';
import {
  compareEntries,
  type Entry,
  encodeEntry,
  encodeManifest,
  merkleRoot,
  signManifest,
} from '@daypass/core/snapshot';
import { setBit } from '@daypass/core/status';
import { signToken, statusUri, type TokenClaims } from '@daypass/core/token';
import { type ActiveSnapshot, activate } from '../../data-plane/active.ts';
import type { AuditSink, DecisionInput, OutcomeInput } from '../../data-plane/audit/sink.ts';
import { createLog } from '../../data-plane/log.ts';
import { createMetrics } from '../../data-plane/metrics.ts';
import { createDataServer, type DataServerDeps } from '../../data-plane/server.ts';
import { createHaste } from '../../data-plane/snapshot/pace.ts';
import { verifyWhole } from '../../data-plane/snapshot/standing.ts';
import { fixedKeys } from '../../data-plane/unseal-keys.ts';
import { serviceConfig } from './service-config.ts';
import { nextNumber, sharedMessage } from './snapshot/fleet.ts';

export const FLEET = 'urn:daypass:fleet:AAAAAAAAAAAAAAAAAAAAAA';
export const ISSUER = 'https://control.example';
export const POOL = 'default';

const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();

/** Made once: every fixture of a file is of the same fleet. */
const rootKey = await generateSigningKey();
export const snapshotKey = await generateSigningKey();
export const tokenKey = await generateSigningKey();
export const sealingKey = await generateSealingKey();
const unsealKeys = fixedKeys(new Map([[sealingKey.kid, await importX25519(sealingKey.privateJwk, 'open')]]));

/** A service of the fixture: its configuration, and the credential that is sealed for it. */
export type ServiceSpec = Partial<ServiceConfig> & {
  readonly name: string;
  readonly origin: string;
  readonly secret?: string;
  readonly seal?: Partial<SealPlaintext>;
};

/** What a snapshot of the fixture holds. */
export type Content = {
  readonly services: readonly ServiceSpec[];
  readonly scopes?: Readonly<Record<string, readonly string[]>>;
  readonly cutoffs?: readonly CutOffEntry[];
  /** Revoked indices of status chunk 0. */
  readonly revoked?: readonly number[];
  readonly keys?: readonly GeneratedKey[];
  /** Entries beside those of the above. */
  readonly entries?: readonly Entry[];
  /** Of the pool; 1 if left out, not said if `null`. */
  readonly nodes?: number | null;
  readonly leaseSeconds?: number;
};

export type FixtureOptions = Content &
  Partial<Pick<DataServerDeps, 'limits' | 'serverTiming' | 'resolve' | 'publicUrl' | 'tls' | 'dpopNonce'>> & {
    readonly allow?: readonly string[];
    readonly own?: readonly { host: string; port: number }[];
    /** Nothing is published before the test does it. */
    readonly unpublished?: boolean;
    /** A free one if left out. */
    readonly port?: number;
  };

/** What the audit double has seen, and how it behaves. */
export type AuditDouble = AuditSink & {
  readonly decisions: DecisionInput[];
  readonly outcomes: OutcomeInput[];
  readonly counted: { reason: string; source: string; service: string }[];
  isAccepting: boolean;
  isFailing: boolean;
};

export type Fixture = Awaited<ReturnType<typeof startFixture>>;

/** Starts a data server on a free port. */
export async function startFixture(options: FixtureOptions) {
  const clock = { nowMs: Date.now() };
  const audit = auditDouble();
  const logs: string[] = [];
  const metrics = createMetrics();
  let current: ActiveSnapshot | undefined;
  let version = 0;
  const publish = async (content: Content): Promise<ActiveSnapshot> => {
    version += 1;
    current = await buildSnapshot(content, version, clock.nowMs / 1000, current);
    return current;
  };
  if (options.unpublished !== true) await publish(options);
  const server = createDataServer({
    ...pick(options),
    current: () => current,
    audit,
    policy: createUpstreamPolicy({ allow: options.allow ?? ['127.0.0.1/32'], own: options.own ?? [] }),
    unsealKeys,
    now: () => clock.nowMs,
    newId: () => randomUUID().replaceAll('-', ''),
    log: createLog('debug', (line) => logs.push(line)),
    metrics,
  });
  const { port } = await server.listen('127.0.0.1', options.port ?? 0);
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    server,
    audit,
    clock,
    logs,
    metrics,
    publish,
    /** Puts another snapshot, or none, in place. */
    setCurrent: (snapshot: ActiveSnapshot | undefined) => {
      current = snapshot;
    },
    mint: (claims: Partial<TokenClaims> = {}, key: GeneratedKey = tokenKey) => mint(clock.nowMs / 1000, claims, key),
    [Symbol.asyncDispose]: () => server.close(),
  };
}

function pick({ limits, serverTiming, resolve, publicUrl, tls, dpopNonce }: FixtureOptions) {
  return {
    ...(limits === undefined ? {} : { limits }),
    ...(serverTiming === undefined ? {} : { serverTiming }),
    ...(resolve === undefined ? {} : { resolve }),
    ...(publicUrl === undefined ? {} : { publicUrl }),
    ...(dpopNonce === undefined ? {} : { dpopNonce }),
    ...(tls === undefined ? {} : { tls }),
  };
}

/** A token for the service `api` that may do what the attack cases grant. */
export async function mint(now: number, claims: Partial<TokenClaims>, key: GeneratedKey): Promise<string> {
  const iat = Math.trunc(now * 1000) / 1000;
  const base: TokenClaims = {
    iss: ISSUER,
    aud: FLEET,
    sub: 'octo-bot',
    client_id: 'octo-bot',
    caller: 'ci',
    jti: randomBytes(16).toString('base64url'),
    iat,
    nbf: iat,
    exp: iat + 900,
    service: 'api',
    allowed: ['GET /public/**', 'GET /v1/items/*', 'POST /v1/items'],
    scope_version: 1,
    status: { status_list: { idx: 7, uri: statusUri(ISSUER, 0) } },
  };
  return signToken({ ...base, ...claims }, { kid: key.kid, key: await importEd25519(key.privateJwk, 'sign') });
}

/** Seals a secret for a service of the fixture. */
export function seal(spec: ServiceSpec, secret: string, change: Partial<SealPlaintext> = {}): Promise<string> {
  const now = Math.trunc(Date.now() / 1000);
  const plaintext: SealPlaintext = {
    v: 1,
    id: createHash('sha256').update(spec.name).digest('hex').slice(0, 32),
    fleet: FLEET,
    pool: POOL,
    service: spec.name,
    origins: [spec.origin],
    place: spec.place ?? { kind: 'bearer' },
    rules: [ALL_REQUESTS],
    callers: [ANY_CALLER],
    nbf: now - 60,
    exp: now + 86_400 * 365,
    secret,
  };
  return sealCredential({ ...plaintext, ...change }, { kid: sealingKey.kid, jwk: sealingKey.publicJwk });
}

const configOf = ({ secret: _secret, seal: _seal, ...spec }: ServiceSpec): ServiceConfig =>
  serviceConfig({ pool: POOL, ...spec });

async function buildSnapshot(
  content: Content,
  version: number,
  now: number,
  previous: ActiveSnapshot | undefined,
): Promise<ActiveSnapshot> {
  const entries = [...(await entriesOf(content))].sort(compareEntries);
  const manifest = encodeManifest({
    v: 1,
    fleet: FLEET,
    pool: POOL,
    version,
    previous: '',
    issued_at: Math.trunc(now),
    expires_at: Math.trunc(now) + (content.leaseSeconds ?? 3600),
    features: [],
    root: merkleRoot(entries, sha256),
  });
  const key = await signKeyStatement(
    {
      v: 1,
      fleet: FLEET,
      pool: POOL,
      use: 'snapshot',
      kid: snapshotKey.kid,
      jwk: snapshotKey.publicJwk,
      not_after: Math.trunc(now) + 86_400 * 365,
    },
    await importEd25519(rootKey.privateJwk, 'sign'),
  );
  const signature = await signManifest(manifest, await importEd25519(snapshotKey.privateJwk, 'sign'));
  const trust = { root: rootKey.publicJwk, fleet: FLEET, pool: POOL, floor: 0, now, sha256 };
  const message = sharedMessage({ manifest, signature, key, entries });
  const { handover } = await verifyWhole(message, () => trust, nextNumber, createHaste(), undefined);
  return activate(handover.lead(undefined), previous);
}

async function entriesOf(content: Content): Promise<readonly Entry[]> {
  const entries: Entry[] = [...(content.entries ?? [])];
  if (content.nodes !== null) entries.push(encodeEntry('pool', POOL, { nodes: content.nodes ?? 1 }));
  for (const spec of content.services) {
    const config = configOf(spec);
    entries.push(encodeEntry('service', spec.name, config));
    if (spec.secret === undefined) continue;
    const id = createHash('sha256').update(spec.name).digest('hex').slice(0, 32);
    entries.push(encodeEntry('credential', spec.name, { id, sealed: await seal(spec, spec.secret, spec.seal) }));
  }
  for (const [name, rules] of Object.entries(content.scopes ?? {})) entries.push(encodeEntry('scope', name, { rules }));
  for (const { kid, publicJwk } of content.keys ?? [tokenKey]) {
    const { kty, crv, x } = publicJwk;
    entries.push(encodeEntry('key', kid, { kid, alg: 'Ed25519', issuer: ISSUER, jwk: { kty, crv, x } }));
  }
  for (const [at, cutoff] of (content.cutoffs ?? []).entries()) entries.push(encodeEntry('cutoff', String(at), cutoff));
  if (content.revoked !== undefined) {
    const bits = new Uint8Array(STATUS_CHUNK_BITS / 8);
    for (const index of content.revoked) setBit(bits, index);
    entries.push(encodeEntry('status', '0', { bits: 1, lst: encodeBase64url(deflateSync(bits)) }));
  }
  return entries;
}

function auditDouble(): AuditDouble {
  const decisions: DecisionInput[] = [];
  const outcomes: OutcomeInput[] = [];
  const counted: { reason: string; source: string; service: string }[] = [];
  return {
    decisions,
    outcomes,
    counted,
    isAccepting: true,
    isFailing: false,
    accepting() {
      return this.isAccepting;
    },
    append(drafts) {
      if (this.isFailing) throw new DaypassError('audit_unavailable', 'The audit cannot be written');
      for (const draft of drafts) {
        if (draft.kind === 'decision') decisions.push(draft);
        else outcomes.push(draft);
      }
    },
    countRefusal(reason, source, service) {
      counted.push({ reason, source, service });
    },
  };
}
