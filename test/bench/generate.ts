// Makes as much load as goes: by `wrk` where it is installed, else by `load.ts`.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../check/sources.ts';
import { run } from '../kit/process.ts';

/** What to ask for. */
export type Load = {
  readonly url: string;
  /** A file with one token a line, or a token, a blank and a path, in rotation. */
  readonly tokens: string;
  /** The line to begin at, counted from 0. */
  readonly from?: number;
  /** A file that is sent as the body; undefined: GET without one. */
  readonly body: string | undefined;
  readonly seconds: number;
  readonly connections: number;
  /** Requests a second; 0: as many as go. A fixed rate is for the job `paced`. */
  readonly rate: number;
  /** Whether `paced` tells of every request. */
  readonly isTraced?: boolean;
};

/** What came of it; latencies in ms. */
export type Result = {
  readonly requests: number;
  readonly failed: number;
  /** Answers whose times say nothing: see `paced`. */
  readonly discarded?: number;
  readonly seconds: number;
  readonly p50: number;
  readonly p99: number;
  /** When each request that counts was due and when it was answered, by turns, in µs of the system's clock. */
  readonly trace?: readonly number[];
};

const WRK = '/usr/bin/wrk';

/** Whether `wrk` makes the load. */
export const hasWrk = existsSync(WRK);

/** Runs a load to its end; throws where a request was not answered with 200. `ownLoad`: never by `wrk`. */
export async function generate(name: string, load: Load, ownLoad = false): Promise<Result> {
  const [command, args] = hasWrk && !ownLoad ? byWrk(load) : byNode(load);
  const ended = await run(command, args, { withinMs: load.seconds * 1000 + 30_000 });
  const line = ended.stdout.split('\n').find((text) => text.startsWith('{'));
  if (ended.code !== 0 || line === undefined) throw new Error(`${name}: ${ended.stdout}${ended.stderr}`);
  const result = JSON.parse(line) as Result;
  if (result.failed > 0 || result.requests === 0)
    throw new Error(`${name}: ${result.failed} of ${result.requests} requests were not answered with 200`);
  return result;
}

function byWrk({ url, tokens, from = 0, body, seconds, connections }: Load): readonly [string, readonly string[]] {
  const script = join(root, 'test', 'bench', 'wrk.lua');
  const flags = ['-t1', `-c${connections}`, `-d${seconds}s`, '--timeout', '10s', '-s', script];
  return [WRK, [...flags, url, '--', tokens, String(from), ...(body === undefined ? [] : [body])]];
}

function byNode(load: Load): readonly [string, readonly string[]] {
  return [process.execPath, [join(root, 'test', 'bench', 'load.ts'), JSON.stringify(load)]];
}
