// Minted tokens in the database: what was granted and where its status bit is, never the token itself.
import { DaypassError } from '@daypass/core/errors';
import { type Selectable, sql } from 'kysely';
import type { Page, RevokedRow, TokenCursor, TokenFilter, TokenRow, TokenStore } from './interface.ts';
import { type Db, fromJson, inParts, limitOf, type Tables } from './tables.ts';

// The filter that narrows most leads, by its index; there are no statistics for the database to choose by.
const FILTERS = ['client', 'caller', 'service'] as const;

const COLUMNS = 16;

export const createTokenStore = (db: Db): TokenStore => ({
  insert: async (...rows) => {
    for (const part of inParts(rows, COLUMNS)) {
      const { numInsertedOrUpdatedRows } = await db
        .insertInto('tokens')
        .values(part.map(tokenColumns))
        .onConflict((conflict) => conflict.column('jti').doNothing())
        .executeTakeFirstOrThrow();
      if (numInsertedOrUpdatedRows !== BigInt(part.length))
        throw new DaypassError('already_exists', 'There is a token of that id already');
    }
  },
  get: async (jti) => {
    const found = await db.selectFrom('tokens').selectAll().where('jti', '=', jti).executeTakeFirst();
    return found && toRow(found);
  },
  getMany: async (jtis) => {
    const found: TokenRow[] = [];
    for (const part of inParts(jtis, 1)) {
      const rows = await db.selectFrom('tokens').selectAll().where('jti', 'in', part).execute();
      found.push(...rows.map(toRow));
    }
    return found;
  },
  list: async (filter, page) => {
    const found = await listQuery(db, filter, page).execute();
    return found.map(toRow);
  },
  revoke: async (jti, at) => {
    const { numUpdatedRows } = await db
      .updateTable('tokens')
      .set({ revokedAt: at })
      .where('jti', '=', jti)
      .where('revokedAt', 'is', null)
      .executeTakeFirstOrThrow();
    return numUpdatedRows > 0n;
  },
  revoked: async (aliveAt) => {
    const rows: RevokedRow[] = [];
    for (;;) {
      const page = await revokedQuery(db, aliveAt, rows.at(-1)).execute();
      rows.push(...page);
      if (page.length < REVOKED_PAGE) return rows;
    }
  },
  indicesTaken: async (chunk, indices, aliveAt) => {
    const taken: number[] = [];
    for (const part of inParts(indices, 1)) {
      const found = await db
        .selectFrom('tokens')
        .select('statusIndex')
        .where('statusChunk', '=', chunk)
        .where('statusIndex', 'in', part)
        .where('expiresAt', '>', aliveAt)
        .execute();
      taken.push(...found.map(({ statusIndex }) => statusIndex));
    }
    return taken;
  },
  aliveInChunk: async (chunk, aliveAt) => {
    const { alive } = await db
      .selectFrom('tokens')
      .select((eb) => eb.fn.countAll<number>().as('alive'))
      .where('statusChunk', '=', chunk)
      .where('expiresAt', '>', aliveAt)
      .executeTakeFirstOrThrow();
    return alive;
  },
  aliveWithSeal: async (sealKid, aliveAt) => {
    const { alive } = await db
      .selectFrom('tokens')
      .select((eb) => eb.fn.countAll<number>().as('alive'))
      .where('sealKid', '=', sealKid)
      .where('expiresAt', '>', aliveAt)
      .executeTakeFirstOrThrow();
    return Number(alive);
  },
  lastExpiry: async () => {
    const { last } = await db
      .selectFrom('tokens')
      .select((eb) => eb.fn.max('expiresAt').as('last'))
      .executeTakeFirstOrThrow();
    return Number(last ?? 0);
  },
});

/** Rows become objects on the loop: so many at a time. */
const REVOKED_PAGE = 2000;

/** In the order of its index. */
const revokedQuery = (db: Db, aliveAt: number, after: RevokedRow | undefined) => {
  const revoked = db
    .selectFrom('tokens')
    .select(['statusChunk', 'statusIndex', 'expiresAt'])
    .where('revokedAt', 'is not', null)
    .where('expiresAt', '>', aliveAt)
    .orderBy('expiresAt')
    .orderBy('statusChunk')
    .orderBy('statusIndex')
    .limit(REVOKED_PAGE);
  if (after === undefined) return revoked;
  const { expiresAt, statusChunk, statusIndex } = after;
  return revoked.where((eb) =>
    eb(eb.refTuple('expiresAt', 'statusChunk', 'statusIndex'), '>', eb.tuple(expiresAt, statusChunk, statusIndex)),
  );
};

const listQuery = (db: Db, filter: TokenFilter, { after, ...page }: Page<TokenCursor>) => {
  const [lead, ...others] = FILTERS.filter((name) => filter[name] !== undefined);
  const newest = db
    .selectFrom('tokens')
    .selectAll()
    .where((eb) => eb.and(others.map((name) => eb(sql`${eb.ref(name)} || ''`, '=', filter[name]))))
    .orderBy('createdAt', 'desc')
    .orderBy('jti', 'desc')
    .limit(limitOf(page));
  const led = lead === undefined ? newest : newest.where(lead, '=', filter[lead] ?? '');
  const alive = filter.aliveAt === undefined ? led : led.where('expiresAt', '>', filter.aliveAt);
  if (after === undefined) return alive;
  return alive.where((eb) => eb(eb.refTuple('createdAt', 'jti'), '<', eb.tuple(after.createdAt, after.jti)));
};

/** A token as its columns. */
export const tokenColumns = (row: TokenRow): Tables['tokens'] => ({
  jti: row.jti,
  service: row.service,
  client: row.client,
  subject: row.subject,
  caller: row.caller,
  allow: JSON.stringify(row.allow),
  credentialId: row.credentialId ?? null,
  jkt: row.jkt ?? null,
  parents: JSON.stringify(row.parents),
  actors: JSON.stringify(row.actors),
  sealKid: row.sealKid ?? null,
  statusChunk: row.statusChunk,
  statusIndex: row.statusIndex,
  createdAt: row.createdAt,
  expiresAt: row.expiresAt,
  revokedAt: row.revokedAt ?? null,
});

const toRow = (columns: Selectable<Tables['tokens']>): TokenRow => ({
  ...columns,
  allow: fromJson(columns.allow, `token ${columns.jti}`),
  credentialId: columns.credentialId ?? undefined,
  jkt: columns.jkt ?? undefined,
  parents: fromJson(columns.parents, `token ${columns.jti}`),
  actors: fromJson(columns.actors, `token ${columns.jti}`),
  sealKid: columns.sealKid ?? undefined,
  revokedAt: columns.revokedAt ?? undefined,
});
