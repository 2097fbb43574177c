// All aggregates over one database or one transaction in it.
import { createAuditStore } from './audit.ts';
import { createCallerStore } from './callers.ts';
import { createCanaryStore } from './canaries.ts';
import { createCeilingStore } from './ceilings.ts';
import { createCutOffStore } from './cut-offs.ts';
import { createEnrolmentStore } from './enrolments.ts';
import type { Aggregates } from './interface.ts';
import { createKeyStore } from './keys.ts';
import { createNodeStore } from './nodes.ts';
import { createOperationStore } from './operations.ts';
import { createServiceStore } from './services.ts';
import { createSnapshotStore } from './snapshots.ts';
import type { Db } from './tables.ts';
import { createTokenStore } from './tokens.ts';

/** The aggregates over a database or a transaction. */
export const createAggregates = (db: Db): Aggregates => ({
  services: createServiceStore(db),
  operations: createOperationStore(db),
  callers: createCallerStore(db),
  ceilings: createCeilingStore(db),
  tokens: createTokenStore(db),
  cutOffs: createCutOffStore(db),
  snapshots: createSnapshotStore(db),
  nodes: createNodeStore(db),
  enrolments: createEnrolmentStore(db),
  keys: createKeyStore(db),
  canaries: createCanaryStore(db),
  audit: createAuditStore(db),
});
