// The tables as kysely sees them (columns are snake_case in the database), and how values become columns.
import { DaypassError } from '@daypass/core/errors';
import type { Entry } from '@daypass/core/snapshot';
import type { Generated, Kysely } from 'kysely';
import type {
  AuditEventRow,
  AuditOutcomeRow,
  AuditRecordRow,
  CallerRow,
  CanaryRow,
  CutOffRow,
  EnrolmentRow,
  KeyRow,
  NodeRow,
  OperationRow,
  Page,
  ServiceRow,
  SnapshotRow,
  TokenRow,
} from './interface.ts';

/** A row whose listed members are kept as JSON text. */
type WithJson<Row, Members extends keyof Row> = Omit<Row, Members> & { readonly [Member in Members]: string };
/** A row whose absent members are NULL. */
type WithNull<Row> = {
  readonly [Member in keyof Row]: undefined extends Row[Member] ? Exclude<Row[Member], undefined> | null : Row[Member];
};

export type Tables = {
  services: WithNull<WithJson<ServiceRow, 'config' | 'scopes'>> & { readonly pool: string };
  operations: OperationRow & {
    readonly service: string;
    /** Id, rule and summary in lower case. */
    readonly search: string;
  };
  callers: WithNull<Omit<CallerRow, 'services' | 'clients' | 'subjects' | 'admin' | 'editsScopes'>> & {
    readonly services: string;
    readonly clients: string | null;
    readonly subjects: string | null;
    readonly admin: number;
    readonly editsScopes: number;
  };
  ceilings: { readonly caller: string; readonly service: string; readonly rules: string };
  tokens: Required<WithNull<WithJson<TokenRow, 'allow' | 'parents' | 'actors'>>>;
  cutOffs: WithJson<CutOffRow, 'entry'> & { readonly mintedBefore: number };
  snapshots: Omit<WithNull<SnapshotRow>, 'nodes'> & { readonly nodes: string | null };
  /** An entry is in the versions from the first up to and without the second; NULL: in the newest, too. */
  snapshotEntries: Entry & { readonly pool: string; readonly fromVersion: number; readonly toVersion: number | null };
  nodes: WithNull<NodeRow>;
  enrolments: EnrolmentRow;
  keys: WithNull<WithJson<KeyRow, 'jwk'>>;
  canaries: WithNull<WithJson<CanaryRow, 'nodes' | 'change'>>;
  auditRecords: AuditRecordRow;
  auditEvents: AuditEventRow & { readonly id: Generated<number> };
  auditOutcomes: AuditOutcomeRow;
};

/** A database, or a transaction in one. */
export type Db = Kysely<Tables>;

/** Reads a JSON column that the store wrote. Throws `database_unavailable` naming the row when it is damaged. */
export const fromJson = <T>(text: string, row: string): T => {
  try {
    return JSON.parse(text) as T;
  } catch (cause) {
    throw new DaypassError('database_unavailable', `The database is damaged: ${row} cannot be read`, { cause });
  }
};

/**
 * A text that a data plane sent, as it may be kept in any database: PostgreSQL holds no NUL, and a node whose records were
 * refused would have to stop. Its record is kept as it came.
 */
export const storable = (text: string): string => text.replaceAll('\0', '\ufffd');

/** The largest page that a store hands out. */
export const PAGE_MAX = 10_000;

/** The row limit of a page. Throws `invalid_argument`, since SQLite takes a negative limit for none. */
export const limitOf = (page: Pick<Page<unknown>, 'limit'>): number => {
  if (Number.isSafeInteger(page.limit) && page.limit >= 1 && page.limit <= PAGE_MAX) return page.limit;
  throw new DaypassError('invalid_argument', `A page holds 1 to ${PAGE_MAX} rows`, { field: 'page_size' });
};

/**
 * Rows in parts that fit one multi-row statement: PostgreSQL binds 65,535 values, SQLite 32,766. Far fewer are bound, since
 * a statement is made, and its values are handed over, in one go on the loop.
 */
export const inParts = <Row>(rows: readonly Row[], columns: number): readonly (readonly Row[])[] => {
  const size = Math.min(500, Math.floor(1500 / columns));
  return Array.from({ length: Math.ceil(rows.length / size) }, (_, part) => rows.slice(part * size, (part + 1) * size));
};
