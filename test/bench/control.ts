// `npm run bench:control`: what Mint, MintBatch, Introspect and Query cost the control plane, on one processor of its own.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { cpuMicros, pin } from './cpu.ts';

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '5' }, 'warm-up': { type: 'string', default: '8' } },
});
const SERVER = fileURLToPath(new URL('./control-server.ts', import.meta.url));
const child = spawn(process.execPath, [SERVER], { stdio: ['ignore', 'pipe', 'inherit'] });
const pid = child.pid ?? 0;
const [line] = await once(createInterface({ input: child.stdout }), 'line');
const server: { url: string; keys: string[]; admin: string } = JSON.parse(String(line));
await pin(pid, 0);
await pin(process.pid, 1);
const agent = new Agent({ keepAlive: true });

type Row = {
  readonly name: string;
  readonly path: string;
  readonly body: unknown;
  readonly lanes: number;
  readonly each?: number;
  readonly admin?: true;
};

const spec = { allow: ['GET /repos/{owner}/{repo}'] };
const mint: Row = { name: 'Mint, 64 at once', path: 'TokenService/Mint', body: { service: 's', ...spec }, lanes: 64 };
const batch = { service: 's', tokens: Array.from({ length: 100 }, (_, i) => ({ ...spec, client: `c-${i}` })) };
await measure(mint, Number(values['warm-up']));
const { token } = JSON.parse(await call(mint, 0));
const rows: readonly Row[] = [
  mint,
  { ...mint, name: 'Mint, 1 at once', lanes: 1 },
  { name: 'MintBatch of 100, 4 at once', path: 'TokenService/MintBatch', body: batch, lanes: 4, each: 100 },
  { name: 'Introspect, 32 at once', path: 'TokenService/Introspect', body: { token }, lanes: 32 },
  { name: 'Query of 100, 8 at once', path: 'AuditService/Query', body: { pageSize: 100 }, lanes: 8, admin: true },
];
process.stdout.write('                                  a second    CPU µs each    p50 ms    p99 ms\n');
for (const row of rows) {
  const { perSecond, micros, p50, p99 } = await measure(row, Number(values.seconds));
  const cells = [
    [perSecond.toFixed(0), 9],
    [micros.toFixed(0), 15],
    [p50.toFixed(1), 10],
    [p99.toFixed(1), 10],
  ] as const;
  const text = cells.map(([cell, width]) => cell.padStart(width)).join('');
  process.stdout.write(`${row.name.padEnd(33)}${text}\n`);
}
agent.destroy();
child.kill('SIGTERM');

/** Keeps so many calls under way for a time; tokens, or calls, a second, and processor time of each. */
async function measure(row: Row, seconds: number) {
  const latencies: number[] = [];
  const [started, cpu] = [performance.now(), (await cpuMicros(pid)) ?? 0];
  const end = started + seconds * 1000;
  const lane = async (index: number): Promise<void> => {
    while (performance.now() < end) {
      const sent = performance.now();
      await call(row, index);
      latencies.push(performance.now() - sent);
    }
  };
  await Promise.all(Array.from({ length: row.lanes }, (_, index) => lane(index)));
  const done = latencies.length * (row.each ?? 1);
  latencies.sort((a, b) => a - b);
  const at = (share: number): number => latencies[Math.floor(latencies.length * share)] ?? 0;
  const elapsed = (performance.now() - started) / 1000;
  const micros = (((await cpuMicros(pid)) ?? 0) - cpu) / done;
  return { perSecond: done / elapsed, micros, p50: at(0.5), p99: at(0.99) };
}

/** The text of an answer; throws for any but a 200. */
function call({ path, body, admin }: Row, index: number): Promise<string> {
  const key = admin ? server.admin : server.keys[index % server.keys.length];
  const text = JSON.stringify(body);
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json', 'content-length': text.length };
  return new Promise((resolve, reject) => {
    const sent = request(`${server.url}/daypass.v1.${path}`, { method: 'POST', agent, headers }, (answer) => {
      let said = '';
      answer.setEncoding('utf8').on('data', (chunk: string) => {
        said += chunk;
      });
      answer.on('end', () => (answer.statusCode === 200 ? resolve(said) : reject(new Error(said))));
    });
    sent.on('error', reject).end(text);
  });
}
