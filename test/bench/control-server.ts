// The control plane that `control.ts` measures, a process of its own: `node control-server.ts HOME SERVICES [TOKENS REVOKED]`. Prints its address; to
// each line on its standard input it answers how long its loop was held up since the last one, in milliseconds.
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { createInterface } from 'node:readline';
import { controlPaths } from '@daypass/core/home';
import { startApp } from '../../control-plane/app.ts';
import { parseConfig } from '../../control-plane/config.ts';
import { createLog } from '../../control-plane/log.ts';
import { openStore } from '../../control-plane/store/open.ts';
import { openConnection } from '../../control-plane/store/sqlite-connection.ts';

const [home = '', count = '0', tokens = '0', revoked = '0'] = process.argv.slice(2);
if (count !== '0') await seed(controlPaths(home).database, Number(count));
if (tokens !== '0') await seedTokens(controlPaths(home).database, Number(tokens), Number(revoked));
const env = {
  DAYPASS_ALLOW_UPSTREAM_RANGES: '127.0.0.1/32',
  DAYPASS_HOME: home,
  DAYPASS_CONTROL_LISTEN: '127.0.0.1:0',
  DAYPASS_ISSUER: 'http://issuer.test',
  DAYPASS_DATABASE_URL: process.env.DAYPASS_DATABASE_URL,
};
const app = await startApp(parseConfig(env), { log: createLog('error', (line) => process.stderr.write(`${line}\n`)) });
process.stdout.write(`${JSON.stringify({ url: app.listen })}\n`);

const RESOLUTION_MS = 1;
const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
delay.enable();
createInterface({ input: process.stdin }).on('line', () => {
  // What is measured is the time between two ticks of a timer: its own time is no stall.
  const stall = (nanos: number): number => Math.max(0, nanos / 1e6 - RESOLUTION_MS);
  process.stdout.write(`${JSON.stringify({ max: stall(delay.max), p99: stall(delay.percentile(99)) })}\n`);
  delay.reset();
});
process.on('SIGTERM', () => app.close().finally(() => process.exit()));

/** Writes services into the database, as the registry would. */
async function seed(file: string, services: number): Promise<void> {
  await (await openStore({ url: `sqlite:${file}` })).close();
  const connection = await openConnection(file);
  const config = {
    ...{
      pool: 'default',
      origin: 'https://api.example.com',
      base_path: '',
      place: null,
      token_in: [{ kind: 'bearer' }],
    },
    ...{ is_default: false, anonymous: false, insecure_upstream: false, max_ttl_seconds: 86_400, clients: null },
    ...{ connect_timeout_ms: 10_000, response_timeout_ms: 300_000, drop_headers: [], set_headers: {}, drop_query: [] },
    limits: { per_token: null, per_client: null, per_service: null },
  };
  const names = Array.from({ length: services }, (_, i) => `s-${String(i).padStart(6, '0')}`);
  const rows = names.map((name) => [name, JSON.stringify({ name, ...config })]);
  await connection.run(
    `insert into services (name, pool, config, description, scopes, etag, created_at, updated_at)
     select value->>0, 'default', value->>1, '', '{}', value->>0, 0, 0 from json_each(?)`,
    [JSON.stringify(rows)],
  );
  await connection.close();
}

/** Writes living tokens into the database, the revoked ones spread evenly among them. */
async function seedTokens(file: string, tokens: number, revoked: number): Promise<void> {
  const connection = await openConnection(file);
  const now = Date.now();
  const every = Math.floor(tokens / Math.max(1, revoked));
  await connection.run(
    `with recursive made(i) as (select 0 union all select i + 1 from made where i + 1 < ?)
     insert into tokens (jti, service, client, subject, caller, allow, parents, actors, status_chunk, status_index,
       created_at, expires_at, revoked_at)
     select printf('%032x', i), 's-000000', 'c', 'c', 'admin', '[]', '[]', '[]', i / 65536, i % 65536, ?, ?,
       case when i % ? = 0 and i / ? < ? then ? end from made`,
    [tokens, now, now + 86_400_000, every, every, revoked, now],
  );
  await connection.close();
}
