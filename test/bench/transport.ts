// Compares two trees of the data plane under the same load: `node test/bench/transport.ts NAME=TREE,… [seconds] [rounds]`.
import { join } from 'node:path';
import { root } from '../check/sources.ts';
import { until } from '../kit/deadline.ts';
import { mint, register } from '../kit/operator.ts';
import { startFleet } from '../kit/planes.ts';
import { launch, run } from '../kit/process.ts';
import { cpuMicros, pin } from './cpu.ts';

const [other = '', seconds = '3', rounds = '5', warm = '4', body = ''] = process.argv.slice(2);
const child = async (file: string, ...args: string[]) => {
  const running = launch(process.execPath, [join(root, 'test', 'bench', file), ...args]);
  const { port } = JSON.parse(await running.line(/^\{"ready":true/)) as { port: number };
  return { port, running };
};
const print = (...parts: readonly unknown[]): void => void process.stdout.write(`${parts.join(' ')}\n`);
const upstream = await child('upstream.ts');
const origin = `http://127.0.0.1:${upstream.port}`;
const bare = await child('bare.ts', origin);
// Trees by name: `plain=/tree,other=/tree`.
const kits = new Map<string, { startFleet: typeof startFleet; mint: typeof mint; register: typeof register }>();
for (const [name = '', tree = ''] of other.split(',').map((one) => one.split('=')))
  kits.set(name, {
    ...(await import(join(tree, 'test/kit/planes.ts'))),
    ...(await import(join(tree, 'test/kit/operator.ts'))),
  });
kits.set('transport', { startFleet, mint, register });
const path = '/s/bench/repos/acme/site/issues/7';
const subjects: { name: string; url: string; pid: number; token: string; adminUrl?: string }[] = [
  { name: 'bare', url: `http://127.0.0.1:${bare.port}${path}`, pid: bare.running.pid, token: 'x' },
];
const fleets: { stop(): Promise<void> }[] = [];
for (const [name, kit] of kits) {
  const fleet = await kit.startFleet({ env: { DAYPASS_LOG_LEVEL: 'warn', DAYPASS_WORKERS: '1' } });
  fleets.push(fleet);
  await kit.register(fleet, 'bench', origin, 'real-credential');
  const token = await kit.mint(
    fleet,
    'bench',
    ['GET /repos/acme/{repo}/issues/{n}', 'POST /repos/acme/{repo}/issues/{n}'],
    ['--ttl', '1h'],
  );
  subjects.push({ name, url: `${fleet.dataUrl}${path}`, pid: fleet.data.pid(), token, adminUrl: fleet.adminUrl });
  await pin(fleet.control.pid(), 0);
}
await pin(process.pid, 0);
await pin(upstream.running.pid, 0);
for (const { pid } of subjects) await pin(pid, 1);

const load = async (
  subject: (typeof subjects)[number],
  time: string,
): Promise<{ n: number; p50: string; p99: string; bad: string }> => {
  const script = body === '' ? [] : ['-s', body];
  const args = [
    '-t1',
    '-c64',
    `-d${time}s`,
    '--latency',
    ...script,
    '-H',
    `authorization: Bearer ${subject.token}`,
    '-H',
    'accept: application/json',
    '-H',
    'user-agent: bench',
    subject.url,
  ];
  const { stdout } = await run('/usr/bin/wrk', args, { withinMs: 60_000 });
  return {
    n: Number(/(\d+) requests in/.exec(stdout)?.[1]),
    p50: /50%\s+(\S+)/.exec(stdout)?.[1] ?? '',
    p99: /99%\s+(\S+)/.exec(stdout)?.[1] ?? '',
    bad: /Non-2xx.*|Socket errors.*/.exec(stdout)?.[0] ?? '',
  };
};
const settled = ({ adminUrl }: (typeof subjects)[number]) =>
  adminUrl === undefined
    ? undefined
    : until(
        'uploaded',
        async () => /^daypass_audit_pending_records 0$/m.test(await (await fetch(`${adminUrl}/metrics`)).text()),
        60_000,
      );
const figures: Record<string, number[]> = Object.fromEntries(subjects.map(({ name }) => [name, []]));
const rates: Record<string, number[]> = Object.fromEntries(subjects.map(({ name }) => [name, []]));
try {
  for (const subject of subjects) await load(subject, warm);
  for (let round = 0; round < Number(rounds); round += 1)
    for (const subject of round % 2 === 0 ? subjects : subjects.toReversed()) {
      await settled(subject);
      const before = (await cpuMicros(subject.pid)) ?? 0;
      const started = performance.now();
      const { n, p50, p99, bad } = await load(subject, seconds);
      const used = ((await cpuMicros(subject.pid)) ?? 0) - before;
      figures[subject.name]?.push(used / n);
      rates[subject.name]?.push((n / (performance.now() - started)) * 1000);
      print(subject.name.padEnd(10), (used / n).toFixed(1), 'us', n, p50, p99, bad);
    }
  for (const [name, all] of Object.entries(figures)) {
    const sorted = all.toSorted((a, b) => a - b);
    print(
      name.padEnd(10),
      'median',
      sorted[sorted.length >> 1]?.toFixed(1),
      'min',
      sorted[0]?.toFixed(1),
      'best/s',
      Math.round(Math.max(...(rates[name] ?? []))),
    );
  }
} finally {
  upstream.running.kill('SIGTERM');
  bare.running.kill('SIGTERM');
  for (const fleet of fleets) await fleet.stop();
}
