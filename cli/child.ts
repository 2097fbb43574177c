// Starts a plane as a child process, waits until it is ready, and stops it.
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { DaypassError } from '@daypass/core/errors';
import { parseStrictJson, readObject } from '@daypass/core/json';

/** A program of this project that runs as a process of its own. */
export type Program = { readonly name: string; readonly main: URL };

/** The programs there are. */
export const controlPlane: Program = {
  name: 'control plane',
  main: new URL('../control-plane/main.ts', import.meta.url),
};
export const dataPlane: Program = { name: 'data plane', main: new URL('../data-plane/main.ts', import.meta.url) };
export const demoUpstream: Program = { name: 'demo upstream', main: new URL('./demo-upstream.ts', import.meta.url) };

/** How a child ended. */
export type Ended = {
  readonly name: string;
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly why: string;
};

/** What a child says once it listens: its addresses by name. */
export type Ready = Readonly<Record<string, string>>;

export type Child = {
  readonly name: string;
  /** Settles when it listens. @throws DaypassError when it ends before (`config_invalid` for exit code 2), or takes longer than 30 s */
  readonly ready: Promise<Ready>;
  /** Settles when it has ended; never fails. */
  readonly ended: Promise<Ended>;
  /** Asks it to stop; a second time: at once. It is killed when it is not gone after 15 s. */
  readonly stop: () => Promise<Ended>;
};

/** Node's own arguments that make a child stop when its parent is gone; its standard input has to be a pipe. */
export const stopWithParent: string[] = ['--import', new URL('./stop-with-parent.mjs', import.meta.url).href];

const READY_MS = 30_000;
const KILL_AFTER_MS = 15_000;
const KEPT_LINES = 20;

/**
 * Starts a program. Its log goes to `log` line by line. It gets a process group of its own, so that a Ctrl-C reaches
 * it through `stop` alone and in the right order, and it stops by itself when this process is gone.
 */
export const startChild = (
  program: Program,
  env: Readonly<Record<string, string>>,
  log: (line: string) => void,
): Child => {
  const child = fork(fileURLToPath(program.main), [], {
    env,
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe', 'ipc'],
    execArgv: stopWithParent,
  });
  const lines: string[] = [];
  readLines(child, (line) => {
    lines.push(line);
    if (lines.length > KEPT_LINES) lines.shift();
    log(line);
  });
  const ended = endOf(child, program.name, lines);
  const ready = readiness(child, program.name, ended);
  // Whoever waits for the end learns of a failed start there.
  ready.catch(() => {});
  return { name: program.name, ready, ended, stop: stopper(child, ended) };
};

/** What a child was heard to say last: the message of its last error, else its last line. */
export const lastWords = (lines: readonly string[]): string => {
  const messages = lines.map(messageOf).filter((message) => message !== undefined);
  return messages.at(-1) ?? lines.at(-1) ?? '';
};

const messageOf = (line: string): string | undefined => {
  if (!line.startsWith('{')) return undefined;
  try {
    const { level, message } = readObject(parseStrictJson(line), 'log');
    return typeof message === 'string' && (level === 'error' || level === 'fatal') ? message : undefined;
  } catch {
    return undefined;
  }
};

const readLines = (child: ChildProcess, use: (line: string) => void): void => {
  let rest = '';
  child.stderr?.setEncoding('utf8');
  child.stderr?.on('data', (chunk: string) => {
    const parts = (rest + chunk).split('\n');
    rest = (parts.pop() ?? '').slice(0, 65_536);
    for (const line of parts) if (line !== '') use(line);
  });
  child.stderr?.on('end', () => {
    if (rest !== '') use(rest);
  });
  // The ready line comes by message too; standard output must be read all the same, or a full pipe would stop the child.
  child.stdout?.resume();
};

const endOf = (child: ChildProcess, name: string, lines: readonly string[]): Promise<Ended> =>
  new Promise((resolve) => {
    child.once('error', (error) => resolve({ name, code: null, signal: null, why: error.message }));
    child.once('close', (code, signal) => resolve({ name, code, signal, why: lastWords(lines) }));
  });

const readiness = async (child: ChildProcess, name: string, ended: Promise<Ended>): Promise<Ready> => {
  const { promise, resolve, reject } = Promise.withResolvers<Ready>();
  child.on('message', (message: unknown) => {
    if (isReady(message)) resolve(message);
  });
  // The planes end with 2 when it is their settings or files that are wrong.
  const codeOf = (end: Ended) => (end.code === 2 ? 'config_invalid' : 'unavailable');
  void ended.then((end) => reject(new DaypassError(codeOf(end), endText(end))));
  const late = () => reject(new DaypassError('unavailable', `the ${name} was not ready in ${READY_MS / 1000} s`));
  const timer = setTimeout(late, READY_MS);
  return await promise.finally(() => clearTimeout(timer));
};

const isReady = (message: unknown): message is Ready =>
  typeof message === 'object' && message !== null && 'ready' in message && message.ready === true;

/** One line on how a child ended. */
export const endText = ({ name, code, signal, why }: Ended): string => {
  const how = signal === null ? `with exit code ${code ?? 'unknown'}` : `by ${signal}`;
  return `the ${name} ended ${how}${why === '' ? '' : `: ${why}`}`;
};

const stopper = (child: ChildProcess, ended: Promise<Ended>) => {
  let timer: NodeJS.Timeout | undefined;
  return async (): Promise<Ended> => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
    timer ??= setTimeout(() => child.kill('SIGKILL'), KILL_AFTER_MS).unref();
    const end = await ended;
    clearTimeout(timer);
    return end;
  };
};
