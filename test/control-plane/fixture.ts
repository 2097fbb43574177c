// A real control plane on a free port: real keys, real files, a real database in a folder of its own.
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DescService } from '@bufbuild/protobuf';
import { type Client, createClient, type Interceptor, type Transport } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { formatApiKey } from '@daypass/core/api-key';
import { encodeBase64url } from '@daypass/core/base64url';
import { controlPaths } from '@daypass/core/home';
import {
  type CryptoKey,
  type GeneratedKey,
  generateSealingKey,
  generateSigningKey,
  importEd25519,
  type KeyUse,
  signKeyStatement,
} from '@daypass/core/key';
import { signNodeAssertion } from '@daypass/core/node-auth';
import { sealCredential } from '@daypass/core/seal';
import type { CredentialPlace } from '@daypass/core/service';
import { AuditService } from '@daypass/sdk/gen/daypass/v1/audit_pb';
import { CallerService } from '@daypass/sdk/gen/daypass/v1/caller_pb';
import { KeyService } from '@daypass/sdk/gen/daypass/v1/key_pb';
import { NodeService } from '@daypass/sdk/gen/daypass/v1/node_pb';
import { ReleaseService } from '@daypass/sdk/gen/daypass/v1/release_pb';
import { ServiceRegistry } from '@daypass/sdk/gen/daypass/v1/service_pb';
import { SnapshotService } from '@daypass/sdk/gen/daypass/v1/snapshot_pb';
import { TokenService } from '@daypass/sdk/gen/daypass/v1/token_pb';
import { type App, startApp } from '../../control-plane/app.ts';
import { type ControlPlaneConfig, parseConfig } from '../../control-plane/config.ts';
import { createLog } from '../../control-plane/log.ts';

/** A home with the control plane's files, and the keys that the other side would have. */
export type Home = {
  readonly path: string;
  readonly fleet: string;
  readonly root: GeneratedKey;
  readonly rootKey: CryptoKey;
  readonly adminKey: string;
  readonly sealing: GeneratedKey;
  readonly nodes: ReadonlyMap<string, CryptoKey>;
  /** The same keys, as a node's home holds them. */
  readonly nodeKeys: ReadonlyMap<string, GeneratedKey>;
  remove(): Promise<void>;
};

const NOT_AFTER = 4_000_000_000;
const DEFAULT_NODES = { 'node-1': 'default', 'node-2': 'default', 'node-3': 'other' };

/** Makes a home with the pools `default` and `other`. */
export const makeHome = async (nodes: Readonly<Record<string, string>> = DEFAULT_NODES): Promise<Home> => {
  const path = await mkdtemp(join(tmpdir(), 'daypass-control-'));
  const paths = controlPaths(path);
  await mkdir(paths.folder, { recursive: true, mode: 0o700 });
  const fleet = `urn:daypass:fleet:${encodeBase64url(randomBytes(16))}`;
  const root = await generateSigningKey();
  const rootKey = await importEd25519(root.privateJwk, 'sign');
  const [tokenKey, snapshotKey, sealing] = [
    await generateSigningKey(),
    await generateSigningKey(),
    await generateSealingKey(),
  ];
  const statement = async (key: GeneratedKey, pool: string, use: KeyUse) => {
    const { kid, publicJwk: jwk } = key;
    const signed = await signKeyStatement({ v: 1, fleet, pool, use, kid, jwk, not_after: NOT_AFTER }, rootKey);
    return { statement: encodeBase64url(signed.statement), signature: encodeBase64url(signed.signature) };
  };
  const write = (file: string, value: unknown): Promise<void> =>
    writeFile(file, JSON.stringify(value), { mode: 0o600 });
  const keys = new Map<string, CryptoKey>();
  const nodeKeys = new Map<string, GeneratedKey>();
  const enrolled: unknown[] = [];
  for (const [name, pool] of Object.entries(nodes)) {
    const key = await generateSigningKey();
    keys.set(name, await importEd25519(key.privateJwk, 'sign'));
    nodeKeys.set(name, key);
    enrolled.push({ name, pool, jwk: key.publicJwk });
  }
  const adminKey = formatApiKey(randomBytes(32));
  await write(paths.fleet, { v: 1, fleet, root: root.publicJwk });
  await write(paths.tokenKey, tokenKey.privateJwk);
  await write(paths.snapshotKey, snapshotKey.privateJwk);
  await write(paths.snapshotKeyStatement, {
    default: await statement(snapshotKey, 'default', 'snapshot'),
    other: await statement(snapshotKey, 'other', 'snapshot'),
  });
  await write(paths.sealingKeys, {
    default: [await statement(sealing, 'default', 'seal')],
    other: [await statement(sealing, 'other', 'seal')],
  });
  await write(paths.nodes, { v: 1, nodes: enrolled });
  await write(paths.admin, { v: 1, key_hash: createHash('sha256').update(adminKey).digest('hex') });
  const remove = (): Promise<void> => rm(path, { recursive: true, force: true });
  return { path, fleet, root, rootKey, adminKey, sealing, nodes: keys, nodeKeys, remove };
};

/** A running control plane with clients. */
export type Running = {
  readonly app: App;
  readonly home: Home;
  readonly url: string;
  /** What was logged, a line an element. */
  readonly logged: string[];
  /** A client with a credential; without one: as anyone. */
  client<S extends DescService>(service: S, credential?: string | Interceptor): Client<S>;
  /** Clients of every service as the admin. */
  readonly admin: ReturnType<typeof clientsOf>;
  /** Clients as a node. */
  asNode(name: string): ReturnType<typeof clientsOf>;
  [Symbol.asyncDispose](): Promise<void>;
};

export type Options = {
  readonly home?: Home;
  readonly env?: Readonly<Record<string, string>>;
  readonly config?: Partial<ControlPlaneConfig>;
  readonly now?: () => number;
};

/** Starts a control plane on a free port. */
export const startControl = async (options: Options = {}): Promise<Running> => {
  const home = options.home ?? (await makeHome());
  const env = { DAYPASS_HOME: home.path, DAYPASS_CONTROL_LISTEN: '127.0.0.1:0', DAYPASS_ISSUER: 'http://issuer.test' };
  const config = { ...parseConfig({ ...env, ...options.env }), ...options.config };
  const logged: string[] = [];
  const log = createLog('debug', (line) => logged.push(line));
  const app = await startApp(config, { log, ...(options.now === undefined ? {} : { now: options.now }) });
  const url = app.listen;
  const client = <S extends DescService>(service: S, credential?: string | Interceptor): Client<S> =>
    createClient(service, transportTo(url, credential));
  return {
    app,
    home,
    url,
    logged,
    client,
    admin: clientsOf(transportTo(url, home.adminKey)),
    asNode: (name) => clientsOf(transportTo(url, asNode(home, name))),
    [Symbol.asyncDispose]: async () => {
      await app.close();
      if (options.home === undefined) await home.remove();
    },
  };
};

/** Adds a credential, fixed or made for each call. */
export const withBearer =
  (credential: string): Interceptor =>
  (next) =>
  (request) => {
    request.header.set('authorization', `Bearer ${credential}`);
    return next(request);
  };

/** A node's assertion, made for each call. */
export const asNode =
  (home: Home, name: string): Interceptor =>
  (next) =>
  async (request) => {
    const key = home.nodes.get(name);
    if (key === undefined) throw new Error(`no node ${name}`);
    const claims = { node: name, fleet: home.fleet, now: Date.now() / 1000, jti: randomBytes(16).toString('hex') };
    request.header.set('authorization', `Bearer ${await signNodeAssertion(claims, key)}`);
    return next(request);
  };

const transportTo = (baseUrl: string, credential: string | Interceptor | undefined): Transport =>
  createConnectTransport({
    baseUrl,
    httpVersion: '1.1',
    interceptors:
      credential === undefined ? [] : [typeof credential === 'string' ? withBearer(credential) : credential],
  });

/** A client of every service over one transport. */
export const clientsOf = (transport: Transport) => ({
  tokens: createClient(TokenService, transport),
  services: createClient(ServiceRegistry, transport),
  callers: createClient(CallerService, transport),
  nodes: createClient(NodeService, transport),
  keys: createClient(KeyService, transport),
  snapshots: createClient(SnapshotService, transport),
  audit: createClient(AuditService, transport),
  releases: createClient(ReleaseService, transport),
});

/** Seals a canary for a service. */
export const sealFor = (
  home: Home,
  service: string,
  extra: {
    readonly place?: CredentialPlace;
    readonly origin?: string;
    readonly id?: string;
    readonly pool?: string;
  } = {},
): Promise<string> =>
  sealCredential(
    {
      v: 1,
      id: extra.id ?? '0123456789abcdef0123456789abcdef',
      fleet: home.fleet,
      pool: extra.pool ?? 'default',
      service,
      origins: [extra.origin ?? 'https://api.example.com'],
      place: extra.place ?? { kind: 'bearer' },
      rules: ['* /**'],
      callers: ['*'],
      nbf: 0,
      exp: NOT_AFTER,
      secret: 'canary-credential',
    },
    { kid: home.sealing.kid, jwk: home.sealing.publicJwk },
  );

/** A promise's error; fails when there is none. */
export const errorOf = async (work: Promise<unknown>): Promise<unknown> => {
  try {
    await work;
  } catch (error) {
    return error;
  }
  throw new Error('it did not fail');
};

/** Waits for a condition, at most 5 s. */
export const until = async <T>(look: () => T | undefined | false | Promise<T | undefined | false>): Promise<T> => {
  const deadline = performance.now() + 5000;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > deadline) throw new Error('it did not come to pass in time');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
};
