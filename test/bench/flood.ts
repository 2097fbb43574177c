// `npm run bench:flood`: how long Revoke and Report take while a caller floods the control plane with the largest MintBatch calls.
import { parseArgs } from 'node:util';
import { createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { SnapshotService } from '@daypass/sdk/gen/daypass/v1/snapshot_pb';
import { asNode } from '../control-plane/fixture.ts';
import { startSubject } from './control-plane.ts';
import { print } from './print.ts';

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    seconds: { type: 'string', default: '10' },
    /** Calls of MintBatch under way; characters of the rules of each token. */
    calls: { type: 'string', default: '32' },
    chars: { type: 'string', default: '8000' },
  },
});
const TOKENS = 100;
const RULES = 10;

await using subject = await startSubject();
const { call, home, url } = subject;
const name = 'flooder';
await call(
  'ServiceRegistry/Create',
  { service: { name: 's', upstream: 'https://api.example.com' }, wait: '0s' },
  home.adminKey,
);
const caller = { name, services: ['s'], ceilings: { s: { rules: ['GET /**', 'POST /a/**'] } } };
const { apiKey } = JSON.parse(await call('CallerService/Create', { caller }, home.adminKey));
const victims: string[] = [];
for (let made = 0; made < 400; made += TOKENS) {
  const tokens = Array.from({ length: TOKENS }, () => ({ allow: ['GET /a'] }));
  const batch = await call('TokenService/MintBatch', { service: 's', tokens }, home.adminKey);
  for (const { jti } of JSON.parse(batch).tokens) victims.push(jti);
}

const long = Math.floor(Number(values.chars) / RULES) - 'GET /000/000/'.length;
const rulesOf = (token: number) => Array.from({ length: RULES }, (_, i) => `GET /${token}/${i}/${'x'.repeat(long)}`);
const flood = { service: 's', tokens: Array.from({ length: TOKENS }, (_, i) => ({ allow: rulesOf(i) })) };
const endsAt = performance.now() + Number(values.seconds) * 1000;
const isOver = () => performance.now() >= endsAt;
const said = new Map<string, number>();
const flooding = Array.from({ length: Number(values.calls) }, async () => {
  while (!isOver()) {
    const code = await call('TokenService/MintBatch', flood, apiKey).then(
      () => 'ok',
      (error: unknown) => String(error).slice(0, 120),
    );
    said.set(code, (said.get(code) ?? 0) + 1);
  }
});
const node = createClient(
  SnapshotService,
  createConnectTransport({ baseUrl: url, httpVersion: '1.1', interceptors: [asNode(home, 'node-1')] }),
);
const timed = async (work: () => Promise<unknown>): Promise<readonly number[]> => {
  const times: number[] = [];
  while (!isOver()) {
    const before = performance.now();
    await work();
    times.push(performance.now() - before);
  }
  return times.sort((a, b) => a - b);
};
const revoke = () => call('TokenService/Revoke', { jti: victims.pop() ?? '', wait: '0s' }, home.adminKey);
const report = () => node.report({ node: 'node-1' });
const [revokes, reports] = await Promise.all([timed(revoke), timed(report), ...flooding]);
const at = (times: readonly number[], share: number) =>
  Math.round(times[Math.ceil(times.length * share) - 1] ?? Number.NaN);
print(
  [
    { call: 'Revoke', count: revokes.length, p50Ms: at(revokes, 0.5), p99Ms: at(revokes, 0.99), maxMs: at(revokes, 1) },
    { call: 'Report', count: reports.length, p50Ms: at(reports, 0.5), p99Ms: at(reports, 0.99), maxMs: at(reports, 1) },
    ...[...said].map(([code, count]) => ({ call: `MintBatch: ${code}`, count })),
  ],
  values.json,
);
