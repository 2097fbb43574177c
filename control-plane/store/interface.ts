// What the domain asks of a store, one small interface an aggregate. Times are milliseconds since the epoch.
import type { CutOffEntry, ServiceConfig } from '@daypass/core/service';
import type { Entry, EntryChange } from '@daypass/core/snapshot';

/** A page: rows after the cursor, at most `limit` of them, 1 to 10,000 (else `invalid_argument`). */
export type Page<Cursor> = { readonly after: Cursor | undefined; readonly limit: number };

export type ServiceRow = {
  readonly name: string;
  readonly config: ServiceConfig;
  readonly description: string;
  /** Compact JWE, or undefined when tokens carry their own. */
  readonly sealedCredential: string | undefined;
  readonly credentialId: string | undefined;
  /** Named scopes: canonical rule texts. */
  readonly scopes: Readonly<Record<string, readonly string[]>>;
  readonly etag: string;
  readonly createdAt: number;
  readonly updatedAt: number;
};
export type ServiceStore = {
  /** Throws `already_exists`. */
  insert(row: ServiceRow): Promise<void>;
  get(name: string): Promise<ServiceRow | undefined>;
  /** In name order. */
  list(page: Page<string>): Promise<readonly ServiceRow[]>;
  /** Those of a pool in name order, for a snapshot. */
  ofPool(pool: string, page: Page<string>): Promise<readonly ServiceRow[]>;
  /** Those of a pool that have a sealed credential, in name order. */
  sealed(
    pool: string,
    page: Page<string>,
  ): Promise<readonly { readonly name: string; readonly sealedCredential: string }[]>;
  /** Replaces the row of that name. Throws `not_found`. */
  replace(row: ServiceRow): Promise<void>;
  /** False when it was not there. */
  delete(name: string): Promise<boolean>;
};

/** An operation of a service's OpenAPI document. */
export type OperationRow = {
  readonly id: string;
  /** Canonical text of a rule without conditions. */
  readonly rule: string;
  readonly summary: string;
};
export type OperationFilter = {
  /** Text that the id, the rule or the summary holds, in any case. */
  readonly contains?: string;
  /** At least one, at most 10,000. */
  readonly ids?: readonly string[];
};
export type OperationStore = {
  /** Puts these in the place of all that the service had. */
  replaceAll(service: string, rows: readonly OperationRow[]): Promise<void>;
  /** Those of the given ids that are there, in no order. */
  get(service: string, ids: readonly string[]): Promise<readonly OperationRow[]>;
  /** Every id, in order. */
  ids(service: string): Promise<readonly string[]>;
  /** In the order of ids. */
  list(service: string, filter: OperationFilter, page: Page<string>): Promise<readonly OperationRow[]>;
  deleteAll(service: string): Promise<void>;
};

export type CallerRow = {
  readonly name: string;
  /** Hex sha256 of the API key. */
  readonly keyHash: string;
  readonly services: readonly string[];
  readonly admin: boolean;
  /** Of a token that it mints; undefined: the service's. */
  readonly maxTtlSeconds: number | undefined;
  /** Labels that it may use; undefined: all. */
  readonly clients: readonly string[] | undefined;
  /** Whom it may speak for, besides its labels. */
  readonly subjects: readonly string[] | undefined;
  readonly editsScopes: boolean;
  /** Empty for a row that was never written since there are etags. */
  readonly etag: string;
  readonly createdAt: number;
};
export type CallerStore = {
  /** Throws `already_exists`. */
  insert(row: CallerRow): Promise<void>;
  get(name: string): Promise<CallerRow | undefined>;
  byKeyHash(keyHash: string): Promise<CallerRow | undefined>;
  list(page: Page<string>): Promise<readonly CallerRow[]>;
  /** Inserts, or replaces all but the time of that name. Throws `already_exists` when another has that key. */
  put(row: CallerRow): Promise<void>;
  delete(name: string): Promise<boolean>;
};

/** The most that a caller's tokens may allow, by service: canonical rule texts. */
export type Ceilings = Readonly<Record<string, readonly string[]>>;
/** Kept apart from the callers, who are looked up at every call: a ceiling may be long. */
export type CeilingStore = {
  get(caller: string, service: string): Promise<readonly string[] | undefined>;
  /** All of a caller, by service in order. */
  ofCaller(caller: string): Promise<Ceilings>;
  /** Sets all of a caller; none deletes them. */
  replaceAll(caller: string, ceilings: Ceilings): Promise<void>;
  /** Deletes those of a service, whoever has them. */
  deleteService(service: string): Promise<void>;
};

export type TokenRow = {
  readonly jti: string;
  readonly service: string;
  readonly client: string;
  readonly subject: string;
  readonly caller: string;
  readonly allow: readonly string[];
  readonly credentialId: string | undefined;
  /** Thumbprint of the key that must prove each use. */
  readonly jkt: string | undefined;
  /** Ids of the tokens that it was exchanged from, the nearest first. */
  readonly parents: readonly string[];
  /** Who acts for the subject, the latest first. */
  readonly actors: readonly string[];
  /** The key that the credential which it carries is sealed to; undefined where it carries none, or nobody looked. */
  readonly sealKid?: string | undefined;
  readonly statusChunk: number;
  readonly statusIndex: number;
  readonly createdAt: number;
  readonly expiresAt: number;
  readonly revokedAt: number | undefined;
};
export type TokenFilter = {
  readonly service?: string;
  readonly client?: string;
  readonly caller?: string;
  /** Only tokens that end after this time. */
  readonly aliveAt?: number;
};
/** The place of a revoked token, and how long it matters. */
export type RevokedRow = Pick<TokenRow, 'statusChunk' | 'statusIndex' | 'expiresAt'>;
/** Position in the newest-first order. */
export type TokenCursor = { readonly createdAt: number; readonly jti: string };
export type TokenStore = {
  /** Throws `already_exists`, in a transaction with its commit at the latest: then for all that share the commit. */
  insert(...rows: readonly TokenRow[]): Promise<void>;
  get(jti: string): Promise<TokenRow | undefined>;
  /** Those of these ids that are there, in no order. */
  getMany(jtis: readonly string[]): Promise<readonly TokenRow[]>;
  /** Newest first. */
  list(filter: TokenFilter, page: Page<TokenCursor>): Promise<readonly TokenRow[]>;
  /** Sets `revokedAt` once; false when it was revoked before or is not there. */
  revoke(jti: string, at: number): Promise<boolean>;
  /** Revoked tokens that end after `aliveAt`: what the status list has to say. */
  revoked(aliveAt: number): Promise<readonly RevokedRow[]>;
  /** Those of these status indices that tokens hold that end after `aliveAt`, in no order. */
  indicesTaken(chunk: number, indices: readonly number[], aliveAt: number): Promise<readonly number[]>;
  /** Tokens that end after `aliveAt`, by chunk. */
  aliveInChunk(chunk: number, aliveAt: number): Promise<number>;
  /** Tokens that end after `aliveAt` and carry a credential that is sealed to the key. */
  aliveWithSeal(sealKid: string, aliveAt: number): Promise<number>;
  /** When the last of all tokens ends; 0: there is none. */
  lastExpiry(): Promise<number>;
};

export type CutOffRow = { readonly id: string; readonly entry: CutOffEntry; readonly createdAt: number };
export type CutOffStore = {
  /** Throws `already_exists`. */
  insert(row: CutOffRow): Promise<void>;
  /** Every cut-off whose `minted_before` is after `since` (ms): older ones reach no living token. */
  all(since: number): Promise<readonly CutOffRow[]>;
};

export type SnapshotRow = {
  readonly pool: string;
  readonly version: number;
  /** Hex sha256 of the manifest bytes. */
  readonly digest: string;
  readonly manifest: Uint8Array;
  /** Over the manifest, and the key that it is by as the fleet root signed it. Undefined: a release before these made it. */
  readonly signature: Uint8Array | undefined;
  readonly keyStatement: Uint8Array | undefined;
  readonly keySignature: Uint8Array | undefined;
  readonly issuedAt: number;
  readonly expiresAt: number;
  /** Who made it, by which RPC, and what was changed, as in the audit. Empty: the control plane by itself, or not known. */
  readonly caller: string;
  readonly method: string;
  readonly subject: string;
  /** The only nodes that it is for; undefined: all of the pool. */
  readonly nodes: readonly string[] | undefined;
};
/** How many entries of a kind a version has that the one before it had not, or had otherwise, or had alone. */
export type ChangeCount = {
  readonly version: number;
  readonly kind: string;
  readonly added: number;
  readonly changed: number;
  readonly removed: number;
};
/** Which versions stay: those issued from a time on, at least and at most so many of the newest; `least` is 1 to 10,000. */
export type SnapshotsKept = { readonly issuedSince: number; readonly least: number; readonly most: number };
export type SnapshotStore = {
  latest(pool: string): Promise<SnapshotRow | undefined>;
  /** The newest that is for all nodes. */
  latestForAll(pool: string): Promise<SnapshotRow | undefined>;
  /**
   * Adds the next version of a pool, higher than all before, and how its entries differ from those of the last one that
   * was added: what is new or another, and without content what is gone; each kind and name once. Throws `already_exists`
   * when the pool has that version.
   */
  insert(row: SnapshotRow, changes: readonly EntryChange[]): Promise<void>;
  at(pool: string, version: number): Promise<SnapshotRow | undefined>;
  /** Newest first; the cursor is a version. */
  list(pool: string, page: Page<number>): Promise<readonly SnapshotRow[]>;
  /** The entries of a version in the order of kind and name. Of a version that is not there they may be any. */
  entriesAt(pool: string, version: number, page: Page<Pick<Entry, 'kind' | 'name'>>): Promise<readonly Entry[]>;
  /**
   * What leads from the entries of one version to those of another, older or newer, in the order of kind and name: those
   * that are new or differ, and without content those that are gone. Costs what was changed between them.
   */
  changesBetween(pool: string, from: number, to: number): Promise<readonly EntryChange[]>;
  /** What changed with each version of a range, both ends included, by version and kind; nothing where nothing did. */
  changeCounts(pool: string, first: number, last: number): Promise<readonly ChangeCount[]>;
  /**
   * Forgets versions from the oldest on, as many as may go, and entries that are in no version any more; at most `limit`
   * of each. How many went, of both.
   */
  prune(pool: string, keep: SnapshotsKept, limit: number): Promise<number>;
};

export type NodeRow = {
  readonly name: string;
  readonly pool: string;
  /** Public JWK as JSON text. */
  readonly jwk: string;
  readonly version: number;
  readonly digest: string;
  /** 0: it never reported one. */
  readonly leaseExpiresAt: number;
  readonly nackVersion: number;
  readonly nackCode: string;
  readonly nackMessage: string;
  readonly software: string;
  readonly reportedAt: number;
  /** Undefined: it is not enrolled. */
  readonly enrolledAt: number | undefined;
  /** The caller who made its enrolment token; empty: the file of the control plane names it. */
  readonly enrolledBy: string;
  /** Undefined: it was not expelled. */
  readonly expelledAt: number | undefined;
};
/** Who a node is, and since when. */
export type NodeIdentity = Pick<NodeRow, 'name' | 'pool' | 'jwk' | 'enrolledBy'> & { readonly enrolledAt: number };
/** Nodes are never deleted: a name stands for one key and one chain of audit. Enrolled are those that were not expelled since. */
export type NodeStore = {
  get(name: string): Promise<NodeRow | undefined>;
  /** Enrolled or not. */
  byKey(jwk: string): Promise<NodeRow | undefined>;
  /** Enrolled or not, in name order. */
  list(page: Page<string>): Promise<readonly NodeRow[]>;
  /** Those that are enrolled, in name order. */
  ofPool(pool: string): Promise<readonly NodeRow[]>;
  /** How many are enrolled. */
  count(): Promise<number>;
  /** Throws `already_exists` for a name that was ever used. */
  insert(node: NodeIdentity): Promise<void>;
  /** Replaces pool and key of that name, and enrols it where it is not; what it reported is kept. Throws `not_found`. */
  replace(node: NodeIdentity): Promise<void>;
  /** It is not enrolled any more, and may be again. */
  withdraw(name: string): Promise<void>;
  /** It is not enrolled any more. False when it was expelled before or is not there. */
  expel(name: string, at: number): Promise<boolean>;
  /** Throws `not_found` when the node is not enrolled. */
  report(node: Omit<NodeRow, keyof NodeIdentity | 'expelledAt'> & Pick<NodeRow, 'name'>): Promise<void>;
  /** Pools that have an enrolled node, in order. */
  pools(): Promise<readonly string[]>;
};

/** A token by which one node may enrol. */
export type EnrolmentRow = {
  /** Hex sha256. */
  readonly tokenHash: string;
  readonly pool: string;
  /** Empty: the node says it. */
  readonly name: string;
  /** The node that used it; empty: none yet. */
  readonly node: string;
  /** Who made it, and when that caller was made. */
  readonly caller: string;
  readonly callerCreatedAt: number;
  readonly createdAt: number;
  readonly expiresAt: number;
};
export type EnrolmentStore = {
  /** Throws `already_exists`. */
  insert(row: EnrolmentRow): Promise<void>;
  get(tokenHash: string): Promise<EnrolmentRow | undefined>;
  count(): Promise<number>;
  /** Uses it up for a node: false when it is not there, or was used. */
  use(tokenHash: string, node: string): Promise<boolean>;
  /** Deletes those that ended at or before a time. */
  deleteEnded(at: number): Promise<void>;
};

/** A public key and its state. Of the keys that credentials are sealed to only those are here that were retired. */
export type KeyRow = {
  readonly kid: string;
  readonly use: 'token' | 'seal';
  /** The public JWK. */
  readonly jwk: Readonly<Record<string, string>>;
  readonly alg: string;
  /** The `iss` of the tokens that it signs; empty for a sealing key. */
  readonly issuer: string;
  readonly createdAt: number;
  /** Since when it may sign; undefined: not yet. */
  readonly activatedAt: number | undefined;
  /** Since when nothing of it is good any more. */
  readonly retiredAt: number | undefined;
  /** No token of its making ends after this. */
  readonly lastExpiresAt: number;
};
export type KeyStore = {
  /** Every one, the oldest first: an operator makes each of them. */
  all(): Promise<readonly KeyRow[]>;
  /** Inserts, or replaces the row of that `kid`. */
  put(row: KeyRow): Promise<void>;
};

/** One record of a node's chain, as it came. */
export type AuditRecordRow = {
  readonly node: string;
  readonly seq: number;
  /** Hex sha256 of the record's bytes. */
  readonly hash: string;
  readonly bytes: Uint8Array;
};
/** A decision joined with its outcome; what Query answers. */
export type AuditEventRow = {
  readonly decisionId: string;
  readonly kind: 'request' | 'change';
  readonly time: number;
  readonly node: string;
  readonly seq: number;
  readonly outcome: 'allowed' | 'refused' | 'failed' | 'pending';
  readonly reason: string;
  readonly jti: string;
  readonly client: string;
  readonly principal: string;
  readonly caller: string;
  readonly service: string;
  readonly method: string;
  readonly path: string;
  readonly rule: string;
  readonly credentialId: string;
  readonly status: number;
  readonly requestBytes: number;
  readonly responseBytes: number;
  readonly latencyMicros: number;
  readonly snapshotVersion: number;
  readonly count: number;
  readonly source: string;
};
/** A change at the control plane: its record in the control plane's own chain, and its event, which nothing follows. */
export type AuditChange = {
  readonly record: AuditRecordRow;
  readonly event: AuditEventRow & { readonly kind: 'change' };
};
/** What an outcome record adds to its decision. */
export type AuditOutcomeRow = Pick<
  AuditEventRow,
  'decisionId' | 'node' | 'outcome' | 'reason' | 'status' | 'requestBytes' | 'responseBytes' | 'latencyMicros'
>;
export type AuditEventFilter = {
  readonly kind?: AuditEventRow['kind'];
  readonly service?: string;
  readonly client?: string;
  readonly jti?: string;
  readonly outcome?: AuditEventRow['outcome'];
  readonly decisionId?: string;
  /** Inclusive. */
  readonly since?: number;
  /** Exclusive. */
  readonly until?: number;
};
/** Which requests are counted: of a service, from a time on and before another. */
export type TallyFilter = {
  readonly service: string;
  readonly since: number;
  readonly until: number;
  /** Those that were decided from this snapshot version on are counted apart, too. */
  readonly version: number;
};
/** Requests of one node, and those that Daypass refused, that failed, or that the upstream answered with 401, 403 or 5xx. */
export type NodeTally = {
  readonly node: string;
  readonly requests: number;
  readonly bad: number;
  readonly requestsFrom: number;
  readonly badFrom: number;
};
/** Position in the newest-first order: time, then the row's own rising number. */
export type AuditCursor = { readonly time: number; readonly id: number };
export type AuditStore = {
  /** The last stored record of a node's chain. */
  last(node: string): Promise<{ readonly seq: number; readonly hash: string } | undefined>;
  /** Hashes of the stored records of a node in a range, both ends included. */
  hashes(node: string, firstSeq: number, lastSeq: number): Promise<ReadonlyMap<number, string>>;
  /** The bytes of one stored record. */
  bytes(node: string, seq: number): Promise<Uint8Array | undefined>;
  /** The bytes of the first stored records of a node in a range, both ends included, in order. */
  records(node: string, firstSeq: number, lastSeq: number, limit: number): Promise<readonly Uint8Array[]>;
  /** The events of these decisions, in no order. */
  ofDecisions(decisionIds: readonly string[]): Promise<readonly AuditEventRow[]>;
  /** Stores changes that are new. Throws `already_exists`, in a transaction as tokens do. */
  append(changes: readonly AuditChange[]): Promise<void>;
  /** Stores raw records; one that is there already is left. Throws `audit_conflict` when it differs from the stored one. */
  insertRecords(rows: readonly AuditRecordRow[]): Promise<void>;
  /** Stores events, each node, decision id and sequence number once; an outcome that waits for one completes it. */
  insertEvents(events: readonly AuditEventRow[]): Promise<void>;
  /**
   * Completes the events of these decisions of the same node, or waits for them to be stored. The first outcome stays,
   * and an empty reason leaves the event's.
   */
  complete(outcomes: readonly AuditOutcomeRow[]): Promise<void>;
  /** Requests by node, of at most some 5,000 events of each outcome, the newest: all of the same time. */
  tally(filter: TallyFilter): Promise<readonly NodeTally[]>;
  /** Newest first, with each row's cursor. */
  query(
    filter: AuditEventFilter,
    page: Page<AuditCursor>,
  ): Promise<readonly (AuditEventRow & { readonly id: number })[]>;
};

/** What a canary changes: the service as it is to be, or nothing where it is to be gone. */
export type CanaryChange = {
  /** The etag of the service that it was tried on; empty: there was none. Absent: not known. */
  readonly before?: string | undefined;
  readonly after?: ServiceRow | undefined;
  /** Absent: those that are stored stay. */
  readonly operations?: readonly OperationRow[] | undefined;
};
/** A change that some nodes of a pool get first. The services are as they were until it is promoted. */
export type CanaryRow = {
  readonly pool: string;
  readonly id: string;
  readonly nodes: readonly string[];
  readonly service: string;
  /** Who asked for it, by which RPC, and what is changed, as in the audit. */
  readonly caller: string;
  readonly method: string;
  readonly subject: string;
  /** The first snapshot version that holds it. */
  readonly version: number;
  readonly startedAt: number;
  /** When it is promoted by itself; undefined: never. */
  readonly promoteAt: number | undefined;
  /** Requests for the service on these nodes before it began, and the bad ones among them. */
  readonly requestsBefore: number;
  readonly badBefore: number;
  /** Undefined: it runs. */
  readonly endedAt: number | undefined;
  readonly ending: '' | 'promoted' | 'taken_back';
  /** Why it was taken back. */
  readonly why: string;
  readonly change: CanaryChange;
};
export type CanaryStore = {
  /** The newest of a pool. */
  get(pool: string): Promise<CanaryRow | undefined>;
  /** The newest of each pool, without what it changes; the first 1,000 by pool. */
  list(): Promise<readonly Omit<CanaryRow, 'change'>[]>;
  /** Puts it in the place of the pool's last one. */
  put(row: CanaryRow): Promise<void>;
};

/** The aggregates, as seen inside or outside a transaction. */
export type Aggregates = {
  /**
   * The same object for as long as nobody but this store has written and nothing was rolled back: what was found free
   * still is, but for what was taken since. Undefined outside a transaction.
   */
  readonly epoch?: object | undefined;
  readonly services: ServiceStore;
  readonly operations: OperationStore;
  readonly callers: CallerStore;
  readonly ceilings: CeilingStore;
  readonly tokens: TokenStore;
  readonly cutOffs: CutOffStore;
  readonly snapshots: SnapshotStore;
  readonly nodes: NodeStore;
  readonly enrolments: EnrolmentStore;
  readonly keys: KeyStore;
  readonly canaries: CanaryStore;
  readonly audit: AuditStore;
};

/** What another control plane on the same database has written: new snapshots, reports of nodes, nodes, keys, audit. */
export type Topic = 'snapshots' | 'reports' | 'nodes' | 'keys' | 'audit';
/** Consecutive records of one chain that were stored; the control plane's own chain has an empty name. */
export type StoredChain = { readonly node: string; readonly firstSeq: number; readonly lastSeq: number };
/**
 * What others have written, soon after they have. What this store has written itself is not told. Any of it may be told
 * more than once, and where a notice may have been lost every topic is told once: look at what is stored.
 */
export type Notices = {
  /** `chain` comes with `audit`, unless any record may have been stored. */
  on(listener: (topic: Topic, chain?: StoredChain) => void): Disposable;
};

/** How a transaction takes its turn. */
export type TransactOptions = {
  /** Ahead of those that are not: a revocation, and the word that it was heard, wait for no queue of mints. */
  readonly urgent?: boolean;
};

/** A store. Throws `database_unavailable` when the database is locked, corrupt or gone. */
export type Store = {
  /** Reads outside a transaction, beside a running write. */
  readonly read: Aggregates;
  /** One writer at a time; rolled back when `work` throws. */
  transact<T>(work: (tx: Aggregates) => Promise<T>, options?: TransactOptions): Promise<T>;
  readonly notices: Notices;
  /**
   * Takes a key until a time (milliseconds), also as against the other control planes on the database. False: one of them
   * has taken it, and that time is not over. What this process has taken itself it has to know.
   */
  takeOnce(key: string, now: number, until: number): Promise<boolean>;
  /** Throws when the database does not answer. */
  ping(): Promise<void>;
  close(): Promise<void>;
};
