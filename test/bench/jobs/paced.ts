// A load at a fixed rate. It waits by polling, sends each request when it is due, and counts its latency from then, so
// neither a timer's lateness nor a queue is left out; what its own processor held up it leaves out, and says how much.
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import type { Load, Result } from '../generate.ts';
import { beat, stoodStillSince } from './beat.ts';
import { open, requestOf } from './lane.ts';

type Lane = { socket: Socket | undefined /** When the request in flight was due, in ms. */; due: number };

/** Runs a load; rate 0: one connection, a request as soon as the last is answered. Latencies in ms. */
export async function paced(load: Load): Promise<Result> {
  const requests = requestsOf(load);
  const run = new Run(load, requests);
  await run.connect();
  globalThis.gc?.();
  return run.go();
}

function requestsOf({ url, tokens, body }: Load): readonly Buffer[] {
  const content = body === undefined ? '' : readFileSync(body, 'latin1');
  const length = body === undefined ? undefined : content.length;
  const all = readFileSync(tokens, 'latin1').trimEnd().split('\n');
  return all.map((token) => Buffer.from(requestOf(url, token, length) + content, 'latin1'));
}

/** Who is not answered by then has failed. */
const LATE_MS = 5_000;

class Run {
  readonly #load: Load;
  readonly #requests: readonly Buffer[];
  readonly #idle: Lane[] = [];
  readonly #latencies: Float64Array;
  readonly #trace: number[] = [];
  #count = 0;
  #sent = 0;
  #failed = 0;
  #discarded = 0;
  #under = 0;
  #isOver = false;
  #error: Error | undefined;

  constructor(load: Load, requests: readonly Buffer[]) {
    this.#load = load;
    this.#requests = requests;
    this.#latencies = new Float64Array(Math.ceil(load.seconds * (load.rate === 0 ? 50_000 : load.rate)) + 1);
  }

  async connect(): Promise<void> {
    const count = this.#load.rate === 0 ? 1 : this.#load.connections;
    const lanes: Lane[] = Array.from({ length: count }, () => ({ socket: undefined, due: 0 }));
    const lost = (error: Error) => {
      if (!this.#isOver) this.#error = error;
    };
    for (const lane of lanes) lane.socket = await open(this.#load.url, (status) => this.#answered(lane, status), lost);
    this.#idle.push(...lanes);
  }

  async go(): Promise<Result> {
    const started = performance.now();
    const end = started + this.#load.seconds * 1000;
    const gap = this.#load.rate === 0 ? 0 : 1000 / this.#load.rate;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    let due = started;
    const turn = (): void => {
      const now = performance.now();
      beat(now);
      if (this.#error !== undefined) {
        reject(this.#error);
        return;
      }
      if (now >= end && (this.#under === 0 || now > end + LATE_MS)) {
        resolve();
        return;
      }
      while (due <= now && due < end && this.#idle.length > 0) {
        this.#send(gap === 0 ? now : due);
        due = gap === 0 ? now : due + gap;
      }
      setImmediate(turn);
    };
    turn();
    await promise;
    return this.#result((performance.now() - started) / 1000);
  }

  #send(due: number): void {
    // The one that has rested longest: all of them are used.
    const lane = this.#idle.shift();
    if (lane === undefined) return;
    lane.due = due;
    this.#under += 1;
    lane.socket?.write(this.#requests[this.#sent % this.#requests.length] ?? '');
    this.#sent += 1;
  }

  #answered(lane: Lane, status: string): void {
    const now = performance.now();
    beat(now);
    this.#under -= 1;
    if (status !== '200') this.#failed += 1;
    if (stoodStillSince(lane.due)) this.#discarded += 1;
    else if (this.#count < this.#latencies.length) {
      this.#latencies[this.#count++] = now - lane.due;
      if (this.#load.isTraced === true) this.#trace.push(lane.due, now);
    }
    this.#idle.push(lane);
  }

  #result(seconds: number): Result {
    const sorted = this.#latencies.subarray(0, this.#count).sort();
    const at = (share: number) => sorted[Math.min(this.#count - 1, Math.floor(this.#count * share))] ?? 0;
    const unanswered = this.#under;
    this.#isOver = true;
    for (const { socket } of this.#idle) socket?.destroy();
    const failed = this.#failed + unanswered;
    const discarded = this.#discarded;
    const result = { requests: this.#count, failed, discarded, seconds, p50: at(0.5), p99: at(0.99) };
    if (this.#load.isTraced !== true) return result;
    const ahead = Number(process.hrtime.bigint()) / 1000 - performance.now() * 1000;
    return { ...result, trace: this.#trace.map((time) => time * 1000 + ahead) };
  }
}
