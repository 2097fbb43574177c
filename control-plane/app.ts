// The composition root: reads the home, opens the store, publishes, listens; stops it all in the reverse order.
import { readFile } from 'node:fs/promises';
import { DaypassError } from '@daypass/core/errors';
import { listenOrigin } from '@daypass/core/listen';
import { createHandler } from './adapter.ts';
import { assemble } from './assemble.ts';
import type { ControlPlaneConfig } from './config.ts';
import { ADMIN, UNBOUNDED } from './domain/callers.ts';
import { enrolFromFile } from './domain/node-file.ts';
import { type ControlHome, readControlHome } from './home.ts';
import { watchHome } from './home-watch.ts';
import type { Log } from './log.ts';
import { repeating } from './repeating.ts';
import { accessOf } from './rpc/policy.ts';
import { createRoutes } from './rpc/routes.ts';
import { createControlServer, type TlsFiles } from './server.ts';
import type { Store } from './store/interface.ts';
import { openStore } from './store/open.ts';

/** A running control plane. */
export type App = {
  /** Origin of the listener. */
  readonly listen: string;
  /** Looks at once whether the keys of the home have changed, and takes their next steps. */
  reload(): Promise<void>;
  /** Stops taking requests and lets those that run end. */
  drain(): Promise<void>;
  /** Ends everything at once. */
  close(): Promise<void>;
};

const BODY_MS_MAX = 60_000;
/** Between looks at what keys wait for. */
const ADVANCE_MS = 2000;
/** How often canaries are looked at. */
const CANARY_MS = 1000;

type Deps = {
  readonly log: Log;
  /** Milliseconds. */
  readonly now?: () => number;
};

/**
 * Starts a control plane.
 * @throws {DaypassError} `config_invalid` for settings and files, `database_unavailable`, `unavailable` for a taken port
 */
export const startApp = async (config: ControlPlaneConfig, { log, now = Date.now }: Deps): Promise<App> => {
  await using starting = new AsyncDisposableStack();
  const home = await readControlHome(config.home, log, now);
  const tls = config.tls && (await readTls(config.tls));
  const store = await openStore({ url: config.databaseUrl.reveal(), connectionsMax: config.databaseConnections });
  starting.defer(() => store.close());
  await enrol(store, home, log, now);
  const domain = await assemble({ config, home, store, log, now });

  const stopping = new AbortController();
  const routes = createRoutes(domain, (method, error) => log.error('an RPC failed', { method, error }));
  const server = createControlServer({
    handler: createHandler({
      options: { ...routes, shutdownSignal: stopping.signal },
      log: (path, error) => log.warn('an answer could not be given', { path, error }),
      bodyMsMax: BODY_MS_MAX,
      isOpen: (method) => accessOf(method) === 'anyone',
      check: domain.check,
    }),
    tls,
    stopStreams: () => stopping.abort(),
  });
  const { host, port } = await server.listen(config.listen);
  starting.defer(() => server.close());
  starting.use(domain.insist);
  starting.use(store.notices.on(domain.heed));
  starting.use(renewing(domain, config.leaseMs, log));
  starting.use(
    repeating(CANARY_MS, domain.lookAtCanaries, (error) => log.error('a canary could not be looked at', { error })),
  );
  const advancing = repeating(
    ADVANCE_MS,
    () => domain.advanceKeys(stopping.signal),
    (error) => log.error('a step of a key could not be taken', { error }),
  );
  starting.use(advancing);
  const watching = await watchHome({
    path: config.home,
    first: home,
    read: () => readControlHome(config.home, log, now),
    take: async (fresh) => {
      await domain.takeHome(fresh);
      void advancing.now();
    },
    log,
  });
  starting.use(watching);
  // First of all: a run that waits for nodes ends.
  starting.defer(() => stopping.abort());

  const running = starting.move();
  const listen = listenOrigin(tls === undefined ? 'http' : 'https', { host, port });
  log.info('the control plane listens', { listen, fleet: home.fleet, issuer: config.issuer });
  const reload = async (): Promise<void> => {
    await watching.now();
    void advancing.now();
  };
  return { listen, reload, drain: () => server.drain(), close: () => running.disposeAsync() };
};

const readTls = async ({ certPath, keyPath }: NonNullable<ControlPlaneConfig['tls']>): Promise<TlsFiles> => {
  const read = async (name: string, path: string): Promise<string> => {
    try {
      return await readFile(path, 'utf8');
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : 'unknown';
      throw new DaypassError('config_invalid', `${name}: ${path} cannot be read (${why})`, { cause });
    }
  };
  return {
    cert: await read('DAYPASS_CONTROL_TLS_CERT', certPath),
    key: await read('DAYPASS_CONTROL_TLS_KEY', keyPath),
  };
};

/** The files of the home say who the admin and the first nodes are. */
const enrol = async (store: Store, home: ControlHome, log: Log, now: () => number): Promise<void> => {
  const { ignored, withdrawn } = await store.transact(async (tx) => {
    const known = await tx.callers.get(ADMIN);
    const admin = { ...UNBOUNDED, name: ADMIN, keyHash: home.adminKeyHash, services: [], admin: true };
    await tx.callers.put({ ...admin, etag: '', createdAt: known?.createdAt ?? now() });
    return enrolFromFile(tx, home.nodes, now());
  });
  for (const one of ignored) log.warn('a node of the file is not enrolled', one);
  for (const node of withdrawn) log.warn('a node that the file does not name any more is withdrawn', { node });
};

type Renewed = Pick<Awaited<ReturnType<typeof assemble>>, 'publisher' | 'history'>;

/** Looks often enough that a snapshot is signed afresh soon after a third of its lease; a failure is tried again. */
const renewing = ({ publisher, history }: Renewed, leaseMs: number, log: Log): AsyncDisposable => {
  const everyMs = Math.min(Math.max(leaseMs / 30, 500), 60_000);
  return repeating(
    everyMs,
    async () => {
      await publisher.renew().catch((error: unknown) => log.error('a snapshot could not be published', { error }));
      await history.prune();
    },
    (error) => log.error('old snapshots could not be forgotten', { error }),
  );
};
