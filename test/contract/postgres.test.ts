// The store's contract on PostgreSQL, on a real server.
import { afterAll, beforeAll } from 'vitest';
import { openStore } from '../../control-plane/store/open.ts';
import { type PostgresServer, startPostgres } from '../kit/postgres.ts';
import { storeContract } from './store.contract.ts';

let server: PostgresServer;
let url: string;
beforeAll(async () => {
  server = await startPostgres();
  url = await server.database();
  const store = await openStore({ url });
  await store.close();
});
afterAll(() => server.remove());

/** A database is made once and emptied for each test: to make one for each takes ten times as long. */
const EMPTY = `do $$ declare name text; begin
  for name in select tablename from pg_tables where schemaname = 'public' and tablename not like 'kysely%' loop
    execute format('delete from %I', name);
  end loop; end $$`;

storeContract('PostgreSQL', async () => {
  await server.ask(EMPTY, new URL(url).pathname.slice(1));
  return { store: await openStore({ url }), again: () => openStore({ url }) };
});
