// `npm run bench:control`: what Mint, MintBatch, Introspect and Query cost the control plane, on one processor of its own, how long
// a mixed load holds its loop up, and what a change of one service costs among many.
import { parseArgs } from 'node:util';
import { startPostgres } from '../kit/postgres.ts';
import { createUpload } from './control-node.ts';
import { type Subject, startSubject } from './control-plane.ts';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '5' },
    'warm-up': { type: 'string', default: '8' },
    /** `calls`, `mixed`, or numbers of services. */
    only: { type: 'string', default: 'calls,mixed,1000,10000,100000' },
    /** Measures `calls` on a PostgreSQL that is started for it; `2`: with two control planes that mint at once. */
    postgres: { type: 'string' },
  },
});
const seconds = Number(values.seconds);
const only = values.only.split(',');

type Row = {
  readonly name: string;
  readonly work: (lane: number) => Promise<unknown>;
  readonly lanes: number;
  /** What one call counts for. */
  readonly each?: number;
};

if (values.postgres !== undefined) await printPostgres(Number(values.postgres));
else if (only.includes('calls') || only.includes('mixed')) {
  await using subject = await startSubject();
  const rows = await rowsOf(subject);
  await measure(subject, rows.mint, Number(values['warm-up']));
  if (only.includes('calls')) await printCalls(subject, Object.values(rows));
  if (only.includes('mixed')) await printMixed(subject, rows);
}
if (values.postgres === undefined) {
  for (const count of only.filter((one) => /^[0-9]+$/.test(one))) await printChanges(Number(count));
}

async function printPostgres(controlPlanes: number): Promise<void> {
  const server = await startPostgres({ durable: true });
  try {
    const url = await server.database();
    await using subject = await startSubject(0, url);
    const rows = await rowsOf(subject);
    await measure(subject, rows.mint, Number(values['warm-up']));
    await using other = controlPlanes > 1 ? await startSubject(0, url, subject.home) : undefined;
    const stop = new AbortController();
    const beside = other && mintBeside(subject, other, stop.signal);
    await printCalls(subject, [rows.mint, rows.one, rows.batch, rows.introspect]);
    stop.abort();
    const minted = await beside;
    if (minted !== undefined) process.stdout.write(`the other control plane minted ${minted.toFixed(0)} a second\n`);
  } finally {
    await server.remove();
  }
}

/** Mints at another control plane of the same home until it is stopped; how many a second. */
async function mintBeside({ home }: Subject, other: Subject, signal: AbortSignal): Promise<number> {
  const started = performance.now();
  let done = 0;
  const lane = async (): Promise<void> => {
    while (!signal.aborted) {
      await other.call('TokenService/Mint', { service: 's', allow: ['GET /repos/{owner}/{repo}'] }, home.adminKey);
      done += 1;
    }
  };
  await Promise.all(Array.from({ length: 16 }, lane));
  return done / ((performance.now() - started) / 1000);
}

async function rowsOf({ call, home }: Subject) {
  const upstream = 'https://api.example.com';
  const wait = '0s';
  await call('ServiceRegistry/Create', { service: { name: 's', upstream }, wait }, home.adminKey);
  const keys = await Promise.all(
    ['c0', 'c1', 'c2', 'c3'].map(async (name): Promise<string> => {
      const made = await call('CallerService/Create', { caller: { name, services: ['s'] } }, home.adminKey);
      return JSON.parse(made).apiKey;
    }),
  );
  const keyOf = (lane: number): string => keys[lane % keys.length] ?? '';
  const spec = { allow: ['GET /repos/{owner}/{repo}'] };
  const batch = { service: 's', tokens: Array.from({ length: 100 }, (_, i) => ({ ...spec, client: `c-${i}` })) };
  const mint = (lane: number) => call('TokenService/Mint', { service: 's', ...spec }, keyOf(lane));
  const { token } = JSON.parse(await mint(0));
  return {
    mint: { name: 'Mint, 64 at once', work: mint, lanes: 64 },
    one: { name: 'Mint, 1 at once', work: mint, lanes: 1 },
    batch: {
      name: 'MintBatch of 100, 4 at once',
      work: (lane: number) => call('TokenService/MintBatch', batch, keyOf(lane)),
      ...{ lanes: 4, each: 100 },
    },
    introspect: {
      name: 'Introspect, 32 at once',
      work: (lane: number) => call('TokenService/Introspect', { token }, keyOf(lane)),
      lanes: 32,
    },
    query: {
      name: 'Query of 100, 8 at once',
      work: () => call('AuditService/Query', { pageSize: 100 }, home.adminKey),
      lanes: 8,
    },
  } satisfies Record<string, Row>;
}

async function printCalls(subject: Subject, rows: readonly Row[]): Promise<void> {
  line('', ['a second', 'CPU µs each', 'p50 ms', 'p99 ms']);
  for (const row of rows) {
    const { perSecond, micros, p50, p99 } = await measure(subject, row, seconds);
    line(row.name, [perSecond.toFixed(0), micros.toFixed(0), p50.toFixed(1), p99.toFixed(1)]);
  }
}

/** All at once, with uploads of audit and with named scopes that are set. */
async function printMixed(subject: Subject, rows: Awaited<ReturnType<typeof rowsOf>>): Promise<void> {
  const upload = createUpload(subject, 500);
  const load: readonly Row[] = [
    { ...rows.mint, lanes: 16 },
    { ...rows.batch, lanes: 1 },
    { ...rows.introspect, lanes: 4 },
    { ...rows.query, lanes: 2 },
    { name: 'Ingest of 1,000 records', work: upload, lanes: 1, each: 1000 },
  ];
  line('', ['max stall ms', 'p99 stall ms', 'p99 Mint ms']);
  for (const rules of [0, 1000, 10_000]) {
    const set: Row = { name: 'SetScope', work: setScope(subject, rules), lanes: 1 };
    const all = rules === 0 ? load : [...load, set];
    if (rules > 0) await setScope(subject, rules)();
    await subject.stalls();
    const [mint] = await Promise.all(all.map((row) => measure(subject, row, seconds)));
    const { max, p99 } = await subject.stalls();
    const name = rules === 0 ? 'Mixed load' : `with SetScope of ${rules} rules`;
    line(name, [max.toFixed(1), p99.toFixed(1), (mint?.p99 ?? 0).toFixed(1)]);
  }
}

function setScope({ call, home }: Subject, count: number): () => Promise<unknown> {
  let round = 0;
  return () => {
    round += 1;
    const rules = Array.from({ length: count }, (_, i) => `GET /repos/acme/site-${i}/issues/{n}/round-${round % 7}`);
    const body = { service: 's', scope: 'big', rules: { rules }, wait: '0s' };
    return call('ServiceRegistry/SetScope', body, home.adminKey);
  };
}

/** A description of one service among many is changed, one at a time; then services are added. */
async function printChanges(count: number): Promise<void> {
  await using subject = await startSubject(count);
  const { call, home } = subject;
  let round = 0;
  const update: Row = {
    name: `Update 1 of ${count} services`,
    work: () => {
      round += 1;
      const service = { name: `s-${String((round * 7919) % count).padStart(6, '0')}`, maxTtl: `${3600 + round}s` };
      return call('ServiceRegistry/Update', { service, updateMask: 'maxTtl', wait: '0s' }, home.adminKey);
    },
    lanes: 1,
  };
  const create: Row = {
    name: `Create 1 among ${count} services`,
    work: () => {
      round += 1;
      const service = { name: `a-${round}`, upstream: 'https://api.example.com' };
      return call('ServiceRegistry/Create', { service, wait: '0s' }, home.adminKey);
    },
    lanes: 1,
  };
  await measure(subject, update, 2);
  line('', ['ms each', 'CPU ms each', 'p99 ms', 'max stall ms']);
  for (const row of [update, create]) {
    await subject.stalls();
    const { micros, p50, p99 } = await measure(subject, row, seconds);
    const { max } = await subject.stalls();
    line(row.name, [p50.toFixed(1), (micros / 1000).toFixed(1), p99.toFixed(1), max.toFixed(1)]);
  }
}

function line(name: string, cells: readonly string[]): void {
  process.stdout.write(`${name.padEnd(33)}${cells.map((cell) => cell.padStart(14)).join('')}\n`);
}

/** Keeps so many calls under way for a time; tokens, or calls, a second, and processor time of each. */
async function measure(subject: Subject, row: Row, forSeconds: number) {
  const latencies: number[] = [];
  const [started, cpu] = [performance.now(), await subject.cpu()];
  const end = started + forSeconds * 1000;
  const lane = async (index: number): Promise<void> => {
    while (performance.now() < end) {
      const sent = performance.now();
      await row.work(index);
      latencies.push(performance.now() - sent);
    }
  };
  await Promise.all(Array.from({ length: row.lanes }, (_, index) => lane(index)));
  const done = latencies.length * (row.each ?? 1);
  latencies.sort((a, b) => a - b);
  const at = (share: number): number => latencies[Math.floor(latencies.length * share)] ?? 0;
  const elapsed = (performance.now() - started) / 1000;
  const micros = ((await subject.cpu()) - cpu) / done;
  return { perSecond: done / elapsed, micros, p50: at(0.5), p99: at(0.99) };
}
