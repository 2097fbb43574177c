// The bench's client where there is no `wrk`, a process of its own: as many requests as go, over kept connections.
// Argument: JSON of {url, tokens, body, seconds, connections}; files with one token a line and of the body or absent.
// Prints one line of JSON, latencies in ms.
import { readFileSync } from 'node:fs';
import type { Load, Result } from './generate.ts';
import { open, requestOf } from './jobs/lane.ts';

const { url, tokens, from = 0, body, seconds, connections } = JSON.parse(process.argv[2] ?? '{}') as Load;
const content = body === undefined ? '' : readFileSync(body, 'latin1');
const requests = readFileSync(tokens, 'latin1')
  .trimEnd()
  .split('\n')
  .map((line) => {
    const [token = '', path] = line.split(' ');
    const to = path === undefined ? url : new URL(path, url).href;
    return Buffer.from(requestOf(to, token, body === undefined ? undefined : content.length) + content, 'latin1');
  });

const latencies: number[] = [];
let failed = 0;
let sent = from;
const started = performance.now();
const end = started + seconds * 1000;
for (const begin of await Promise.all(Array.from({ length: connections }, lane))) begin();
await new Promise((resolve) => setTimeout(resolve, end - performance.now()));
latencies.sort((a, b) => a - b);
const at = (share: number) => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? 0;
const elapsed = (performance.now() - started) / 1000;
const result: Result = { requests: latencies.length, failed, seconds: elapsed, p50: at(0.5), p99: at(0.99) };
process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit());

/** A connection; the function sends its first request. */
async function lane(): Promise<() => void> {
  let since = 0;
  const send = (): void => {
    since = performance.now();
    socket.write(requests[sent % requests.length] ?? '');
    sent += 1;
  };
  const answered = (status: string): void => {
    if (status !== '200') failed += 1;
    latencies.push(performance.now() - since);
    if (performance.now() < end) send();
  };
  const socket = await open(url, answered, (error) => {
    throw error;
  });
  return send;
}
