// A child process of a test: its output is kept, its end is a promise, and nothing outlives the test.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { within } from './deadline.ts';

/** How a process ended, and what it had said. */
export type Ended = {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
};

/** A process that runs. */
export type Running = {
  readonly pid: number;
  /** What it has written so far. */
  stdout(): string;
  stderr(): string;
  /** The first line of stdout that fits, as soon as it is there; throws when the process ends before, with what it said. */
  line(pattern: RegExp, withinMs?: number): Promise<string>;
  kill(signal: NodeJS.Signals): void;
  readonly ended: Promise<Ended>;
};

export type Launch = {
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  readonly stdin?: string | Uint8Array;
  /** Without the power of root to read what no mode lets anyone read. */
  readonly powerless?: boolean;
};

const alive = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of alive) signalGroup(child, 'SIGKILL');
});

/** The environment for a child: this one's without any setting of Daypass, and what is given. */
export function environment(extra: Readonly<Record<string, string | undefined>> = {}): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !/^(?:DAYPASS_|VITEST|NODE_OPTIONS$|NODE_V8_COVERAGE$|NODE_ENV$|TEST$)/.test(name),
  );
  return { ...Object.fromEntries(inherited), ...extra };
}

// Root without capabilities is stopped by modes like anybody else.
const noPower = ['--bounding-set=-all', '--inh-caps=-all'];

/** Starts a program. */
export function launch(command: string, args: readonly string[], options: Launch = {}): Running {
  const drop = options.powerless === true && process.getuid?.() === 0;
  const [program, programArgs] = drop ? ['setpriv', [...noPower, command, ...args]] : [command, args];
  const child = spawn(program, programArgs, {
    cwd: options.cwd,
    env: environment(options.env),
    stdio: ['pipe', 'pipe', 'pipe'],
    // A group of its own: a signal reaches a program behind a wrapper script too, as Ctrl-C does.
    detached: true,
  });
  alive.add(child);
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  child.stdin.on('error', () => undefined);
  child.stdin.end(options.stdin ?? '');
  const ended = new Promise<Ended>((resolve) => {
    child.once('error', (error) => resolve({ code: null, signal: null, stdout, stderr: `${stderr}${error.message}` }));
    child.once('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
  }).finally(() => alive.delete(child));
  let over: Ended | undefined;
  void ended.then((end) => {
    over = end;
  });
  const find = (pattern: RegExp) => stdout.split('\n').find((text) => pattern.test(text));
  const line = async (pattern: RegExp): Promise<string> => {
    for (;;) {
      const found = find(pattern);
      if (found !== undefined) return found;
      if (over !== undefined)
        throw new Error(`${command} ${args.join(' ')} ended with ${over.code}: ${over.stdout}${over.stderr}`);
      await Promise.race([once(child.stdout, 'data'), ended]);
    }
  };
  return {
    pid: child.pid ?? -1,
    stdout: () => stdout,
    stderr: () => stderr,
    line: (pattern, withinMs = 20_000) => within(`${args.join(' ')} says ${pattern}`, line(pattern), withinMs),
    kill: (signal) => signalGroup(child, signal),
    ended,
  };
}

/** Runs a program to its end, and kills it when that does not come. */
export async function run(
  command: string,
  args: readonly string[],
  options: Launch & { readonly withinMs?: number } = {},
): Promise<Ended> {
  const running = launch(command, args, options);
  try {
    return await within(`${command} ${args.join(' ')} ends`, running.ended, options.withinMs ?? 20_000);
  } catch (error) {
    running.kill('SIGKILL');
    const end = await running.ended;
    throw new Error(`${String(error)}: ${end.stdout}${end.stderr}`);
  }
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    // It is gone already.
  }
}
