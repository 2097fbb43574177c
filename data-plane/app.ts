// Puts the data plane together: home, audit, snapshots, request path, admin port; and takes it apart again.
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { DaypassError } from '@daypass/core/errors';
import { signNodeAssertion } from '@daypass/core/node-auth';
import { type Clients, createClients } from '@daypass/sdk/client';
import { type AdminServer, createAdminServer, type Readiness } from './admin.ts';
import { openSpool, type Spool } from './audit/spool.ts';
import { createSpoolSink } from './audit/spool-sink.ts';
import { createUploader, type Uploader } from './audit/uploader.ts';
import type { DataPlaneConfig } from './config.ts';
import { type DataHome, readDataHome } from './home.ts';
import { lockFolder } from './home-lock.ts';
import { listenFailure } from './listener.ts';
import type { Log } from './log.ts';
import { createMetrics, type Metrics } from './metrics.ts';
import { createDataServer } from './server.ts';
import { isLoopback, type Listen, listenOrigin } from './settings.ts';
import { createSnapshotAgent, type SnapshotAgent } from './snapshot/agent.ts';
import { boundedFetch } from './snapshot/bounded-fetch.ts';
import { SNAPSHOT_BYTES_MAX } from './snapshot/signed.ts';
import { openSnapshotStore } from './snapshot/store.ts';
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
  const version = softwareVersion();
  const home = await readDataHome(config.home, log);
  const tls = config.tls === undefined ? undefined : await readTls(config.tls);
  building.use(await lockFolder(home.spoolFolder));

  const store = await openSnapshotStore(home.snapshotFolder);
  const clients = createNodeClients(config, home);
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
  const { serverTiming, publicUrl } = config;
  const { unsealKeys } = home;
  const shared = { limits, serverTiming, publicUrl, audit, policy, unsealKeys, now, newId, log, metrics, tls };
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
function createNodeClients(config: DataPlaneConfig, { node, fleet, nodeKey }: DataHome): Clients {
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

function readinessOf(agent: SnapshotAgent, spool: Spool, draining: boolean, nowMs: number): Readiness {
  const { version, leaseExpiresAt } = agent.state();
  const reason = (): Readiness['reason'] => {
    if (draining) return 'draining';
    if (version === 0) return 'snapshot_missing';
    if (nowMs >= leaseExpiresAt * 1000) return 'snapshot_expired';
    return spool.accepting() ? undefined : 'audit_unavailable';
  };
  return { reason: reason(), snapshotVersion: version };
}

function declareMetrics(
  metrics: Metrics,
  agent: SnapshotAgent,
  spool: Spool,
  uploader: Uploader,
  now: () => number,
): void {
  const gauge = (name: string, help: string, read: () => number) => metrics.gauge(`daypass_${name}`, help, read);
  gauge('snapshot_version', 'Version of the active snapshot; 0: none.', () => agent.state().version);
  gauge('snapshot_lease_seconds', 'Seconds until the lease of the active snapshot ends.', () =>
    Math.max(0, agent.state().leaseExpiresAt - now() / 1000),
  );
  gauge('snapshot_refused', '1 while the newest snapshot is refused.', () =>
    agent.state().refused === undefined ? 0 : 1,
  );
  gauge('control_connected', '1 while the stream of the control plane is alive.', () =>
    Number(agent.state().connected),
  );
  gauge('audit_spool_bytes', 'Bytes of audit records on disk.', () => spool.usage().bytes);
  gauge('audit_spool_bytes_max', 'Bound of the audit spool.', () => spool.usage().bytesMax);
  gauge('audit_accepting', '0 while the spool is full or failing.', () => Number(spool.usage().accepting));
  gauge('audit_pending_records', 'Records that the control plane has not acknowledged.', () => {
    const { lastSeq, acknowledgedSeq } = spool.usage();
    return lastSeq - acknowledgedSeq;
  });
  gauge('audit_upload_lag_seconds', 'For how long records have waited for their acknowledgement.', () =>
    Math.max(0, (now() - (spool.usage().pendingSince ?? now())) / 1000),
  );
  gauge('audit_rejected', '1 while the control plane rejects audit records.', () =>
    Number(uploader.state() === 'rejected'),
  );
}

async function readTls({ certPath, keyPath }: { certPath: string; keyPath: string }) {
  const read = async (path: string, variable: string) => {
    try {
      return await readFile(path, 'utf8');
    } catch (cause) {
      throw new DaypassError('config_invalid', `${variable}: ${path} cannot be read`, { cause, field: variable });
    }
  };
  const cert = await read(certPath, 'DAYPASS_DATA_TLS_CERT');
  const key = await read(keyPath, 'DAYPASS_DATA_TLS_KEY');
  return { cert, key };
}

function warnAboutCleartext(config: DataPlaneConfig, log: Log): void {
  const { hostname, protocol } = new URL(config.controlUrl);
  if (protocol === 'http:' && !isLoopback(hostname.replace(/^\[(.*)\]$/, '$1')))
    log.warn('the control plane is reached without TLS', { url: config.controlUrl });
  if (config.tls === undefined && !isLoopback(config.listen.host))
    log.warn('tokens come to this listener without TLS', { host: config.listen.host, port: config.listen.port });
}

/** 128 random bits. */
const newId = (): string => randomBytes(16).toString('base64url');
