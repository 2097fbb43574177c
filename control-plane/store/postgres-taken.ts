// Keys that may be taken once, over all control planes on a PostgreSQL.
import { sql } from 'kysely';
import type { Db } from './tables.ts';

/** Where they are kept. Nothing of it is in the write-ahead log: it matters for minutes, and costs no flush. */
export const TAKEN = 'daypass_taken';

/** How often those that are over are looked for. */
const SWEEP_MS = 30_000;

/** Makes the way to take one; see `Store.takeOnce`. */
export const createTakeOnce = (db: Db): ((key: string, now: number, until: number) => Promise<boolean>) => {
  let sweepAt = 0;
  return async (key, now, until) => {
    if (performance.now() >= sweepAt) {
      sweepAt = performance.now() + SWEEP_MS;
      await sql`delete from ${sql.id(TAKEN)} where until < ${now}`.execute(db);
    }
    const { rows } = await sql`
      insert into ${sql.id(TAKEN)} (key, until) values (${key}, ${until})
      on conflict (key) do update set until = excluded.until where ${sql.id(TAKEN)}.until < ${now}
      returning key`.execute(db);
    return rows.length === 1;
  };
};
