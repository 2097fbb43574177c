// Whether this node can serve, and the numbers that say why: for the admin port.
import type { Readiness } from './admin.ts';
import type { Spool } from './audit/spool.ts';
import type { Uploader } from './audit/uploader.ts';
import type { Metrics } from './metrics.ts';
import type { SnapshotAgent } from './snapshot/agent.ts';

/** Ready with workers that serve, a snapshot within its lease, an audit that accepts, and no end in sight. */
export function readinessOf(
  agent: SnapshotAgent,
  spool: Spool,
  isServing: boolean,
  draining: boolean,
  nowMs: number,
): Readiness {
  const { version, leaseExpiresAt } = agent.state();
  const reason = (): Readiness['reason'] => {
    if (draining) return 'draining';
    if (version === 0) return 'snapshot_missing';
    if (nowMs >= leaseExpiresAt * 1000) return 'snapshot_expired';
    if (!isServing) return 'unavailable';
    return spool.accepting() ? undefined : 'audit_unavailable';
  };
  return { reason: reason(), snapshotVersion: version };
}

/** Declares the metrics of snapshot and audit. */
export function declareMetrics(
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
  gauge('control_connected', '1 while the control plane is reached for snapshots.', () =>
    Number(agent.state().connected),
  );
  gauge('control_polling', '1 while streams are cut and the control plane is asked again and again.', () =>
    Number(agent.state().polling),
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
