// Typed clients for every service of the control plane, over Connect and the platform's own fetch.
import { type Client, createClient, type Interceptor, type Transport } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-web';
import { AuditService } from './gen/daypass/v1/audit_pb.ts';
import { CallerService } from './gen/daypass/v1/caller_pb.ts';
import { KeyService } from './gen/daypass/v1/key_pb.ts';
import { NodeService } from './gen/daypass/v1/node_pb.ts';
import { ReleaseService } from './gen/daypass/v1/release_pb.ts';
import { ServiceRegistry } from './gen/daypass/v1/service_pb.ts';
import { SnapshotService } from './gen/daypass/v1/snapshot_pb.ts';
import { TokenService } from './gen/daypass/v1/token_pb.ts';

/** One client a service. */
export type Clients = {
  readonly tokens: Client<typeof TokenService>;
  readonly services: Client<typeof ServiceRegistry>;
  readonly snapshots: Client<typeof SnapshotService>;
  readonly releases: Client<typeof ReleaseService>;
  readonly audit: Client<typeof AuditService>;
  readonly keys: Client<typeof KeyService>;
  readonly callers: Client<typeof CallerService>;
  readonly nodes: Client<typeof NodeService>;
};

/** Where the control plane is, and who calls. */
export type ClientOptions = {
  readonly baseUrl: string;
  /** The value of the Authorization header, asked for at every call: `bearer(apiKey)`, or a node's assertion. Absent: none. */
  readonly authorization?: (() => Promise<string> | string) | undefined;
  readonly fetch?: typeof globalThis.fetch | undefined;
  /** Longest time of a call, streams included; 0: no limit. Default 30 s; give streams a `timeoutMs: 0` of their own. */
  readonly timeoutMs?: number | undefined;
};

/** Longest time of a call that names none. */
const DEFAULT_TIMEOUT_MS = 30_000;

/** Clients of a control plane. Calls throw ConnectError; `toDaypassError` (errors.ts) reads the code out of it. */
export const createClients = (options: ClientOptions): Clients => clientsOver(createTransport(options));

/** Clients over any Connect transport. */
export const clientsOver = (transport: Transport): Clients => ({
  tokens: createClient(TokenService, transport),
  services: createClient(ServiceRegistry, transport),
  snapshots: createClient(SnapshotService, transport),
  releases: createClient(ReleaseService, transport),
  audit: createClient(AuditService, transport),
  keys: createClient(KeyService, transport),
  callers: createClient(CallerService, transport),
  nodes: createClient(NodeService, transport),
});

/** A Connect transport over fetch, in binary form; it follows no redirect, so a key goes to nobody else. */
export function createTransport(options: ClientOptions): Transport {
  const { baseUrl, authorization, fetch, timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  return createConnectTransport({
    baseUrl,
    useBinaryFormat: true,
    interceptors: authorization === undefined ? [] : [authorize(authorization)],
    ...(timeoutMs === 0 ? {} : { defaultTimeoutMs: timeoutMs }),
    ...(fetch === undefined ? {} : { fetch }),
  });
}

/** An API key as an authorization. */
export const bearer = (apiKey: string) => (): string => `Bearer ${apiKey}`;

const authorize =
  (authorization: () => Promise<string> | string): Interceptor =>
  (next) =>
  async (request) => {
    // A call may say for itself who asks.
    if (!request.header.has('authorization')) request.header.set('authorization', await authorization());
    return await next(request);
  };
