// The question for audit events, put so that it reads an index and never the table, whatever the filter.
import { sql } from 'kysely';
import type { AuditCursor, AuditEventFilter, AuditEventRow, Page } from './interface.ts';
import { type Db, limitOf } from './tables.ts';

const KINDS: readonly AuditEventRow['kind'][] = ['request', 'change'];
const OUTCOMES: readonly AuditEventRow['outcome'][] = ['allowed', 'refused', 'failed', 'pending'];
// The one that narrows most comes first; there are no statistics for the database to choose by.
const FILTERS = ['jti', 'client', 'service'] as const;

/** Events that fit, newest first, with their cursors. */
export const queryEvents = async (
  db: Db,
  filter: AuditEventFilter,
  page: Page<AuditCursor>,
): Promise<readonly (AuditEventRow & { readonly id: number })[]> => {
  const limit = limitOf(page);
  const kinds = filter.kind === undefined ? KINDS : [filter.kind];
  const outcomes = filter.outcome === undefined ? OUTCOMES : [filter.outcome];
  const parts =
    filter.decisionId === undefined
      ? kinds.flatMap((kind) => outcomes.map((outcome) => newestOf(db, kind, outcome, filter, page)))
      : [ofDecision(db, filter.decisionId, filter, page)];
  const [first, ...others] = parts.map((part) => db.selectFrom(part.as('part')).select('part.id'));
  if (first === undefined) return [];
  const ids = others.reduce((all, next) => all.unionAll(next), first);
  return db
    .selectFrom('auditEvents')
    .selectAll()
    .where('id', 'in', ids)
    .orderBy('time', 'desc')
    .orderBy('id', 'desc')
    .limit(limit)
    .execute();
};

// One kind and one outcome at a time: their indices hold the rest in time order, so a page is read from one end.
const newestOf = (
  db: Db,
  kind: AuditEventRow['kind'],
  outcome: AuditEventRow['outcome'],
  filter: AuditEventFilter,
  page: Page<AuditCursor>,
) => {
  const [lead, ...others] = FILTERS.filter((name) => filter[name] !== undefined);
  const query = within(db, filter, page).where('kind', '=', kind).where('outcome', '=', outcome);
  const led = lead === undefined ? query : query.where(lead, '=', filter[lead] ?? '');
  return led.where((eb) => eb.and(others.map((name) => eb(sql`${eb.ref(name)} || ''`, '=', filter[name]))));
};

// A decision has one event, or a few if a node repeats an id: the other filters are put so that no index takes them.
const ofDecision = (db: Db, decisionId: string, filter: AuditEventFilter, page: Page<AuditCursor>) => {
  const others = (['kind', 'outcome', ...FILTERS] as const).filter((name) => filter[name] !== undefined);
  return within(db, filter, page)
    .where('decisionId', '=', decisionId)
    .where((eb) => eb.and(others.map((name) => eb(sql`${eb.ref(name)} || ''`, '=', filter[name]))));
};

const within = (db: Db, { since, until }: AuditEventFilter, page: Page<AuditCursor>) => {
  const { after } = page;
  const newest = db
    .selectFrom('auditEvents')
    .select('id')
    .orderBy('time', 'desc')
    .orderBy('id', 'desc')
    .limit(limitOf(page));
  const begun = since === undefined ? newest : newest.where('time', '>=', since);
  const ended = until === undefined ? begun : begun.where('time', '<', until);
  if (after === undefined) return ended;
  return ended.where((eb) => eb(eb.refTuple('time', 'id'), '<', eb.tuple(after.time, after.id)));
};
