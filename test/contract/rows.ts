// Rows for the store's contract: a whole one of each kind, to be changed where a test cares.
import type {
  AuditEventRow,
  AuditOutcomeRow,
  AuditRecordRow,
  CallerRow,
  ServiceRow,
  SnapshotRow,
  TokenRow,
} from '../../control-plane/store/interface.ts';

export const NOW = 1_790_000_000_000;

/** Texts that break a statement put together by hand. */
export const HOSTILE_TEXTS = [
  `'; drop table services; --`,
  `" or 1=1 --`,
  '%',
  '_',
  '?1',
  ':name',
  '\\',
  'ünï😀',
  '__proto__',
  '',
] as const;

export const service = (name: string, changes: Partial<ServiceRow> = {}, pool = 'default'): ServiceRow => ({
  name,
  config: {
    name,
    pool,
    origin: 'https://api.example.com',
    base_path: '/v1',
    place: { kind: 'header', name: 'x-api-key', template: 'key {secret}' },
    token_in: [{ kind: 'bearer' }, { kind: 'header', name: 'private-token' }],
    is_default: false,
    anonymous: false,
    insecure_upstream: false,
    max_ttl_seconds: 86_400,
    connect_timeout_ms: 10_000,
    response_timeout_ms: 300_000,
    clients: null,
    drop_headers: ['x-a'],
    set_headers: { 'x-b': 'c' },
    drop_query: [],
    limits: { per_token: { requests: 5, per_seconds: 1 }, per_client: null, per_service: null },
  },
  description: 'one',
  sealedCredential: 'eyJ.a.b.c.d',
  credentialId: 'cred-1',
  scopes: { triage: ['GET /issues', 'POST /labels'] },
  etag: 'e1',
  createdAt: NOW,
  updatedAt: NOW,
  ...changes,
});

export const caller = (name: string, changes: Partial<CallerRow> = {}): CallerRow => ({
  name,
  keyHash: `hash of ${name}`,
  services: ['github'],
  admin: false,
  maxTtlSeconds: undefined,
  clients: undefined,
  subjects: undefined,
  editsScopes: false,
  etag: 'e1',
  createdAt: NOW,
  ...changes,
});

export const token = (jti: string, changes: Partial<TokenRow> = {}): TokenRow => ({
  jti,
  service: 'github',
  client: 'bot',
  subject: 'ann',
  caller: 'ci',
  allow: ['GET /repos/**'],
  credentialId: undefined,
  jkt: undefined,
  parents: [],
  actors: [],
  sealKid: undefined,
  statusChunk: 0,
  statusIndex: 7,
  createdAt: NOW,
  expiresAt: NOW + 900_000,
  revokedAt: undefined,
  ...changes,
});

export const snapshot = (pool: string, version: number): SnapshotRow => ({
  pool,
  version,
  digest: `digest ${version}`,
  manifest: new Uint8Array([0, 255, 10, version % 256]),
  signature: new Uint8Array([1, 0, 254]),
  keyStatement: new Uint8Array([0x7b, 0x7d]),
  keySignature: new Uint8Array([255]),
  issuedAt: NOW,
  expiresAt: NOW + 3_600_000,
  caller: 'ci',
  method: 'ServiceRegistry/Update',
  subject: 'services/github',
  nodes: undefined,
});

export const record = (node: string, seq: number, hash = `hash ${seq}`): AuditRecordRow => ({
  node,
  seq,
  hash,
  bytes: new Uint8Array([0x7b, 0, 0xff, 0x7d]),
});

export const event = (decisionId: string, changes: Partial<AuditEventRow> = {}): AuditEventRow => ({
  decisionId,
  kind: 'request',
  time: NOW,
  node: 'node-1',
  seq: 1,
  outcome: 'pending',
  reason: '',
  jti: 'jti-1',
  client: 'bot',
  principal: 'ann',
  caller: 'ci',
  service: 'github',
  method: 'GET',
  path: '/repos/acme/site',
  rule: 'GET /repos/**',
  credentialId: 'cred-1',
  status: 0,
  requestBytes: 0,
  responseBytes: 0,
  latencyMicros: 0,
  snapshotVersion: 3,
  count: 1,
  source: '',
  ...changes,
});

export const outcome = (decisionId: string, changes: Partial<AuditOutcomeRow> = {}): AuditOutcomeRow => ({
  decisionId,
  node: 'node-1',
  outcome: 'allowed',
  reason: '',
  status: 200,
  requestBytes: 10,
  responseBytes: 2_000,
  latencyMicros: 1_500,
  ...changes,
});
