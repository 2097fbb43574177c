// `npm run bench`: the data plane beside a bare node:http + undici pass-through, the same upstream, load and run.
import { availableParallelism, cpus } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { root } from '../check/sources.ts';
import { until } from '../kit/deadline.ts';
import { mint, register } from '../kit/operator.ts';
import { type Fleet, startFleet } from '../kit/planes.ts';
import { launch, type Running, run } from '../kit/process.ts';
import { cpuMicros, pin } from './cpu.ts';

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '3' },
    'warm-up': { type: 'string', default: '8' },
    connections: { type: 'string', default: '32' },
    rate: { type: 'string', default: '500' },
  },
});

/** What the load generator reports. */
type Load = {
  readonly requests: number;
  readonly failed: number;
  readonly seconds: number;
  readonly p50: number;
  readonly p99: number;
};
type Subject = { readonly name: string; readonly url: string; readonly pid: number };
type Measured = {
  readonly name: string;
  readonly perSecond: number;
  readonly cpuMicros: number;
  readonly busy: number;
  readonly p50: number;
  readonly p99: number;
};

const started: Running[] = [];
let fleet: Fleet | undefined;
try {
  const upstream = await child('upstream.ts');
  const bare = await child('bare.ts', `http://127.0.0.1:${upstream.port}`);
  fleet = await startFleet({ env: { DAYPASS_LOG_LEVEL: 'warn' } });
  await register(fleet, 'bench', `http://127.0.0.1:${upstream.port}`, 'real-credential');
  const token = await mint(
    fleet,
    'bench',
    ['GET /repos/acme/{repo}/issues', 'GET /repos/acme/{repo}/issues/{n}'],
    ['--ttl', '1h'],
  );

  const path = '/s/bench/repos/acme/site/issues/7';
  const direct: Subject = {
    name: 'upstream alone',
    url: `http://127.0.0.1:${upstream.port}${path}`,
    pid: upstream.pid,
  };
  const pass: Subject = { name: 'bare pass-through', url: `http://127.0.0.1:${bare.port}${path}`, pid: bare.pid };
  const daypass: Subject = { name: 'Daypass', url: `${fleet.dataUrl}${path}`, pid: fleet.data.pid() };
  const pinned =
    availableParallelism() >= 2 && (await spread(upstream.pid, fleet.control.pid(), [bare.pid, fleet.data.pid()]));

  const subjects = [pass, daypass];
  for (const subject of subjects) await load(subject, token, values['warm-up'], '0');
  const full: Measured[] = [];
  const paced: Measured[] = [];
  for (let round = 0; round < Number(values.rounds); round += 1) {
    for (const subject of round % 2 === 0 ? subjects : subjects.toReversed())
      full.push(await measure(subject, token, '0'));
    for (const subject of [direct, ...subjects]) paced.push(await measure(subject, token, values.rate));
  }
  report(
    subjects.map((one) => middle(one.name, full)),
    [direct, ...subjects].map((one) => middle(one.name, paced)),
    pinned,
  );
} finally {
  for (const one of started) one.kill('SIGTERM');
  await fleet?.stop();
}

/** A child of the bench that says on which port it listens. */
async function child(file: string, ...args: string[]): Promise<{ readonly port: number; readonly pid: number }> {
  const running = launch(process.execPath, [join(root, 'test', 'bench', file), ...args]);
  started.push(running);
  const { port } = JSON.parse(await running.line(/^\{"ready":true/)) as { port: number };
  return { port, pid: running.pid };
}

/** The proxies on one processor, everything else on the other. */
async function spread(upstream: number, control: number, proxies: readonly number[]): Promise<boolean> {
  const pins = [pin(process.pid, 0), pin(upstream, 0), pin(control, 0), ...proxies.map((pid) => pin(pid, 1))];
  return (await Promise.all(pins)).every(Boolean);
}

async function load(subject: Subject, token: string, seconds: string, rate: string): Promise<Load> {
  const args = [join(root, 'test', 'bench', 'load.ts'), subject.url, token, seconds, values.connections, rate];
  const ended = await run(process.execPath, args, { withinMs: Number(seconds) * 1000 + 20_000 });
  if (ended.code !== 0) throw new Error(`${subject.name}: ${ended.stderr}`);
  const result = JSON.parse(ended.stdout) as Load;
  if (result.failed > 0)
    throw new Error(`${subject.name}: ${result.failed} of ${result.requests} requests were not answered with 200`);
  return result;
}

/** Waits until the audit of the round before is uploaded, so that no round pays for another. */
async function settled({ adminUrl }: Fleet): Promise<void> {
  const uploaded = async () =>
    /^daypass_audit_pending_records 0$/m.test(await (await fetch(`${adminUrl}/metrics`)).text());
  await until('the audit is uploaded', uploaded, 120_000);
}

async function measure(subject: Subject, token: string, rate: string): Promise<Measured> {
  if (fleet !== undefined) await settled(fleet);
  const before = await cpuMicros(subject.pid);
  const result = await load(subject, token, values.seconds, rate);
  const after = await cpuMicros(subject.pid);
  const used = before === undefined || after === undefined ? Number.NaN : after - before;
  return {
    name: subject.name,
    perSecond: result.requests / result.seconds,
    cpuMicros: used / result.requests,
    busy: used / (result.seconds * 1e6),
    p50: result.p50,
    p99: result.p99,
  };
}

/** The median of each figure over the rounds of a subject. */
function middle(name: string, rounds: readonly Measured[]): Measured {
  const own = rounds.filter((one) => one.name === name);
  const median = (of: (one: Measured) => number) =>
    own.map(of).sort((a, b) => a - b)[Math.floor(own.length / 2)] ?? Number.NaN;
  return {
    name,
    perSecond: median((one) => one.perSecond),
    cpuMicros: median((one) => one.cpuMicros),
    busy: median((one) => one.busy),
    p50: median((one) => one.p50),
    p99: median((one) => one.p99),
  };
}

function report(full: readonly Measured[], paced: readonly Measured[], pinned: boolean): void {
  const [bare, daypass] = full;
  const alone = paced[0];
  if (bare === undefined || daypass === undefined || alone === undefined) throw new Error('nothing was measured');
  const ratio = { perSecond: daypass.perSecond / bare.perSecond, cpu: daypass.cpuMicros / bare.cpuMicros };
  const machine = { processors: cpus().length, model: cpus()[0]?.model ?? 'unknown', node: process.version, pinned };
  if (values.json) {
    process.stdout.write(`${JSON.stringify({ machine, settings: values, full, paced, ratio })}\n`);
    return;
  }
  const number = (value: number, digits = 0) => value.toFixed(digits);
  const lines = [
    `${machine.processors} processors (${machine.model}), Node ${machine.node}, ${pinned ? 'proxy on one processor, the rest on the other' : 'processes not pinned'}`,
    `${values.rounds} rounds of ${values.seconds} s in turn after ${values['warm-up']} s of warm-up, ${values.connections} connections, 1 KB answers; medians`,
    '',
    row('as many as go', 'requests/s', 'CPU µs/request', 'CPU busy'),
    ...full.map((one) => row(one.name, number(one.perSecond), number(one.cpuMicros, 1), `${number(one.busy * 100)} %`)),
    row('ratio', number(ratio.perSecond, 2), number(ratio.cpu, 2), ''),
    '',
    row(`at ${values.rate} requests/s`, 'p50 ms', 'p99 ms', 'added p50 / p99 ms'),
    ...paced.map((one) =>
      row(
        one.name,
        number(one.p50, 2),
        number(one.p99, 2),
        `${number(one.p50 - alone.p50, 2)} / ${number(one.p99 - alone.p99, 2)}`,
      ),
    ),
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
}

function row(name: string, ...cells: readonly string[]): string {
  return [name.padEnd(22), ...cells.map((cell) => cell.padStart(18))].join(' ').trimEnd();
}
