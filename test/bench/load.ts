// The bench's client, a process of its own: as many requests as go, or a fixed rate, over kept connections.
// Argument: JSON of a `Load`; body may be absent. Prints one line of JSON, latencies in ms.
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import type { Load } from './generate.ts';

const { url, tokens, from = 0, body, seconds, connections, rate } = JSON.parse(process.argv[2] ?? '{}') as Load;
const target = new URL(url);
const content = body === undefined ? undefined : readFileSync(body, 'latin1');
const requests = readFileSync(tokens, 'latin1').trimEnd().split('\n').map(requestWith);

type Lane = { readonly socket: Socket /** When the request in flight was due, in ms; 0: idle. */; due: number };

const latencies: number[] = [];
let failed = 0;
let sent = from;
const started = performance.now();
const end = started + seconds * 1000;
const idle: Lane[] = [];
const waiting: number[] = [];

const lanes = await Promise.all(Array.from({ length: connections }, open));
if (rate > 0) await paced(rate);
else await saturated();
latencies.sort((a, b) => a - b);
const at = (share: number) => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? 0;
const elapsed = (performance.now() - started) / 1000;
const result = { requests: latencies.length, failed, seconds: elapsed, p50: at(0.5), p99: at(0.99) };
process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit());

function requestWith(text: string): Buffer {
  const [token = '', path = target.pathname] = text.split(' ');
  const fields = [`Host: ${target.host}`, `Authorization: Bearer ${token}`, 'Accept: application/json'];
  if (content !== undefined) fields.push('Content-Type: application/json', `Content-Length: ${content.length}`);
  const line = `${content === undefined ? 'GET' : 'POST'} ${path} HTTP/1.1`;
  return Buffer.from(`${[line, ...fields].join('\r\n')}\r\n\r\n${content ?? ''}`, 'latin1');
}

async function saturated(): Promise<void> {
  for (const lane of lanes) send(lane, performance.now());
  await new Promise((resolve) => setTimeout(resolve, end - performance.now()));
}

/**
 * Sends requests at an even pace. Latency counts from when a request was sent, or, where every connection was busy when
 * it was due, from then: the lateness of a timer is not the proxy's, that of a queue is.
 */
async function paced(perSecond: number): Promise<void> {
  idle.push(...lanes);
  const gap = 1000 / perSecond;
  for (let due = performance.now(); due < end; due += gap) {
    const early = due - performance.now();
    if (early > 0) await new Promise((resolve) => setTimeout(resolve, early));
    const lane = idle.pop();
    if (lane === undefined) waiting.push(due);
    else send(lane, performance.now());
  }
}

function send(lane: Lane, due: number): void {
  lane.due = due;
  lane.socket.write(requests[sent % requests.length] ?? '');
  sent += 1;
}

function answered(lane: Lane, status: string): void {
  if (status !== '200') failed += 1;
  latencies.push(performance.now() - lane.due);
  lane.due = 0;
  if (rate === 0) return void (performance.now() < end && send(lane, performance.now()));
  const next = waiting.shift();
  if (next === undefined) idle.push(lane);
  else send(lane, next);
}

function open(): Promise<Lane> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(target.port), target.hostname, () => resolve(lane));
    const lane: Lane = { socket, due: 0 };
    let head = '';
    let rest = -1;
    socket.setNoDelay(true);
    socket.on('error', reject);
    socket.on('data', (bytes) => {
      if (rest < 0) {
        head += bytes.toString('latin1');
        const split = head.indexOf('\r\n\r\n');
        if (split < 0) return;
        const length = /\r\ncontent-length: *(\d+)/i.exec(head.slice(0, split))?.[1];
        if (length === undefined) throw new Error(`an answer without a length: ${head.slice(0, 200)}`);
        rest = Number(length) - (head.length - split - 4);
      } else {
        rest -= bytes.length;
      }
      if (rest > 0) return;
      const status = head.slice(9, 12);
      head = '';
      rest = -1;
      answered(lane, status);
    });
  });
}
