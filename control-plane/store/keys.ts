// Public keys in the database, with when each began to sign and when it was retired.
import type { Selectable } from 'kysely';
import type { KeyRow, KeyStore } from './interface.ts';
import { type Db, fromJson, type Tables } from './tables.ts';

export const createKeyStore = (db: Db): KeyStore => ({
  all: async () => {
    const found = await db.selectFrom('keys').selectAll().orderBy('createdAt').orderBy('kid').execute();
    return found.map(toRow);
  },
  put: async ({ kid, ...row }) => {
    const changed = {
      ...row,
      jwk: JSON.stringify(row.jwk),
      activatedAt: row.activatedAt ?? null,
      retiredAt: row.retiredAt ?? null,
    };
    await db
      .insertInto('keys')
      .values({ kid, ...changed })
      .onConflict((conflict) => conflict.column('kid').doUpdateSet(changed))
      .execute();
  },
});

const toRow = (columns: Selectable<Tables['keys']>): KeyRow => ({
  ...columns,
  jwk: fromJson(columns.jwk, `key ${columns.kid}`),
  activatedAt: columns.activatedAt ?? undefined,
  retiredAt: columns.retiredAt ?? undefined,
});
