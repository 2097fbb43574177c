// Puts the data plane together: home, audit, snapshots, request path, admin port; and takes it apart again.

import { isLoopback, type Listen, listenOrigin } from '@daypass/core/listen';
import { signNodeAssertion } from '@daypass/core/node-auth';
import { type Clients, createClients } from '@daypass/sdk/client';
import { type AdminServer, createAdminServer } from './admin.ts';
import { openSpool } from './audit/spool.ts';
import { createSpoolSink } from './audit/spool-sink.ts';
import { createUploader } from './audit/uploader.ts';
import type { DataPlaneConfig } from './config.ts';
import { declareMetrics, readinessOf } from './health.ts';
import { type DataHome, readDataHome } from './home.ts';
import { lockFolder } from './home-lock.ts';
import { listenFailure } from './listener.ts';
import type { Log } from './log.ts';
import { createMetrics } from './metrics.ts';
import { createNewId } from './new-id.ts';
import { createDataServer } from './server.ts';
import { createSnapshotAgent } from './snapshot/agent.ts';
import { boundedFetch } from './snapshot/bounded-fetch.ts';
import { SNAPSHOT_BYTES_MAX } from './snapshot/signed.ts';
import { openSnapshotStore } from './snapshot/store.ts';
import { readTls } from './tls.ts';
import { createCurrentPolicy } from './upstream-policy.ts';
import { softwareVersion } from './version.ts';

const LAST_UPLOAD_MS = 1_000;

export type DataPlane = {
  /** Origin of the proxy, as it listens. */
  readonly listen: string;
  /** Origin of the admin port. */
  readonly admin: string;
  /** Takes no new request, and resolves when the last one was answered. */
  drain(): Promise<void>;
  /** Ends everything; what is recorded stays on disk. */
  close(): Promise<void>;
};

/**
 * Starts a data plane; it serves from disk when the control plane is away. Throws `config_invalid` for the home and
 * files that settings name, `unavailable` for a port.
 */
export async function startDataPlane(config: DataPlaneConfig, log: Log): Promise<DataPlane> {
  await using building = new AsyncDisposableStack();
  const now = Date.now;
  const newId = createNewId();
  const version = softwareVersion();
  const home = await readDataHome(config.home, log);
  const tls = config.tls === undefined ? undefined : await readTls(config.tls);
  building.use(await lockFolder(home.spoolFolder));

  const store = await openSnapshotStore(home.snapshotFolder);
  const clients = createNodeClients(config, home, newId);
  let onConnected = () => {};
  const { fleet, pool, root, node } = home;
  const client = clients.snapshots;
  const common = { node, log, random: Math.random };
  const connected = () => onConnected();
  const agent = createSnapshotAgent({
    ...common,
    client,
    store,
    fleet,
    pool,
    root,
    software: version,
    now,
    onConnected: connected,
  });
  building.defer(agent.stop);
  await agent.load();

  const spool = openSpool({ folder: home.spoolFolder, node, bytesMax: config.auditSpoolBytes, now, log });
  building.defer(spool.close);
  const audit = building.use(createSpoolSink({ spool, now, newId, snapshot: agent }));
  const uploader = createUploader({ ...common, spool, client: clients.audit, key: home.nodeKey });
  building.defer(uploader.stop);
  onConnected = uploader.wake;

  let listeners: readonly Listen[] = [config.listen, config.adminListen];
  const { allowUpstreamRanges: allow, controlUrl } = config;
  const policy = building.use(createCurrentPolicy({ allow, listeners: () => listeners, controlUrl, log }));
  const metrics = createMetrics();
  declareMetrics(metrics, agent, spool, uploader, now);
  const limits = { maxInFlight: config.maxInFlight };
  const { serverTiming, publicUrl, dpopNonce } = config;
  const { unsealKeys } = home;
  const shared = {
    limits,
    serverTiming,
    publicUrl,
    dpopNonce,
    audit,
    policy,
    unsealKeys,
    now,
    newId,
    log,
    metrics,
    tls,
  };
  const server = createDataServer({ ...shared, current: agent.current });
  building.defer(server.close);
  let draining = false;
  const readiness = () => readinessOf(agent, spool, draining, now());
  const admin = createAdminServer({ version, readiness, metrics: metrics.render });
  building.defer(admin.close);

  const at = await openListeners(server, admin, config);
  listeners = [at.data, at.admin];
  await policy.refresh();
  agent.start();
  uploader.start();
  warnAboutCleartext(config, log);
  const running = building.move();
  return {
    listen: listenOrigin(tls === undefined ? 'http' : 'https', at.data),
    admin: listenOrigin('http', at.admin),
    async drain() {
      draining = true;
      await server.drain();
    },
    async close() {
      draining = true;
      await server.close();
      audit[Symbol.dispose]();
      await uploader.drain(LAST_UPLOAD_MS);
      await running.disposeAsync();
    },
  };
}

/** Every call carries a fresh assertion under the node's own key. */
function createNodeClients(config: DataPlaneConfig, { node, fleet, nodeKey }: DataHome, newId: () => string): Clients {
  return createClients({
    baseUrl: config.controlUrl,
    authorization: async () =>
      `Bearer ${await signNodeAssertion({ node, fleet, now: Date.now() / 1000, jti: newId() }, nodeKey)}`,
    fetch: boundedFetch(globalThis.fetch, SNAPSHOT_BYTES_MAX),
  });
}

async function openListeners(server: ReturnType<typeof createDataServer>, admin: AdminServer, config: DataPlaneConfig) {
  const { host, port } = config.listen;
  const adminAt = await admin.listen(config.adminListen);
  try {
    return { data: { host, port: (await server.listen(host, port)).port }, admin: adminAt };
  } catch (cause) {
    throw listenFailure(cause, config.listen);
  }
}

function warnAboutCleartext(config: DataPlaneConfig, log: Log): void {
  const { hostname, protocol } = new URL(config.controlUrl);
  if (protocol === 'http:' && !isLoopback(hostname.replace(/^\[(.*)\]$/, '$1')))
    log.warn('the control plane is reached without TLS', { url: config.controlUrl });
  if (config.tls === undefined && !isLoopback(config.listen.host))
    log.warn('tokens come to this listener without TLS', { host: config.listen.host, port: config.listen.port });
}
