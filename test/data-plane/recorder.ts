// An upstream that records every octet and answers with whatever octets it is told to, and a client that does the same.
import { connect, createServer, type Server, type Socket } from 'node:net';
import { until } from '../kit/deadline.ts';

/** One request as it came over the wire. */
export type Recorded = {
  readonly method: string;
  readonly target: string;
  /** Lower-case names and values, in order. */
  readonly fields: readonly (readonly [string, string])[];
  readonly body: string;
  readonly isComplete: boolean;
};

/** Octets to answer with, or what to do with the socket instead. */
export type Script = string | ((socket: Socket) => void);

export type Recorder = Awaited<ReturnType<typeof startRecorder>>;

/** Starts the upstream. Without a script it answers 200 with `ok` and the target in `X-Up`. */
export async function startRecorder() {
  const connections = new Map<Socket, { octets: string; answered: number }>();
  const ended: string[] = [];
  const scripts: Script[] = [];
  let dialled = 0;
  const server: Server = createServer((socket) => {
    dialled += 1;
    const state = { octets: '', answered: 0 };
    connections.set(socket, state);
    socket.on('error', () => undefined);
    socket.on('close', () => {
      connections.delete(socket);
      ended.push(state.octets);
    });
    socket.on('data', (bytes) => {
      state.octets += bytes.toString('latin1');
      const complete = parseRequests(state.octets).filter((one) => one.isComplete);
      for (; state.answered < complete.length; state.answered += 1) {
        const one = complete[state.answered];
        if (one !== undefined) answer(socket, one, scripts.shift());
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const octets = () => [...ended, ...[...connections.values()].map((state) => state.octets)];
  return {
    port,
    origin: `http://127.0.0.1:${port}`,
    /** Connections made so far. */
    dialled: () => dialled,
    /** All octets that came. */
    octets: () => octets().join(''),
    requests: (): readonly Recorded[] => octets().flatMap(parseRequests),
    /** Connections that are open now. */
    sockets: (): readonly Socket[] => [...connections.keys()],
    /** The answer to the next request without one. */
    script: (next: Script) => scripts.push(next),
    forget: () => {
      ended.length = 0;
      scripts.length = 0;
      dialled = 0;
      for (const socket of connections.keys()) socket.destroy();
      connections.clear();
    },
    close: () => {
      for (const socket of connections.keys()) socket.destroy();
      server.close();
    },
    [Symbol.dispose]() {
      this.close();
    },
  };
}

function answer(socket: Socket, { method, target }: Recorded, script: Script | undefined): void {
  if (typeof script === 'function') script(socket);
  else if (script !== undefined) socket.write(Buffer.from(script, 'latin1'));
  else {
    const shown = target.slice(0, 60).replace(/[^\x21-\x7e]/g, '?');
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Up: ${shown}\r\n\r\n${method === 'HEAD' ? '' : 'ok'}`);
  }
}

/** Reads the requests that lie one after the other in octets. */
export function parseRequests(octets: string): readonly Recorded[] {
  const found: Recorded[] = [];
  let at = 0;
  while (at < octets.length) {
    const end = octets.indexOf('\r\n\r\n', at);
    if (end < 0) {
      found.push({ method: '', target: octets.slice(at, at + 80), fields: [], body: '', isComplete: false });
      break;
    }
    const [line = '', ...rest] = octets.slice(at, end).split('\r\n');
    const [method = '', target = ''] = line.split(' ');
    const fields = rest.map((field): readonly [string, string] => {
      const colon = field.indexOf(':');
      return [field.slice(0, colon).toLowerCase(), field.slice(colon + 1).trim()];
    });
    const body = readBody(octets, end + 4, fields);
    found.push({ method, target, fields, body: body.text, isComplete: body.isComplete });
    if (!body.isComplete) break;
    at = body.end;
  }
  return found;
}

type Body = { readonly text: string; readonly end: number; readonly isComplete: boolean };

function readBody(octets: string, start: number, fields: Recorded['fields']): Body {
  const value = (name: string) => fields.find((field) => field[0] === name)?.[1];
  if (!/chunked/i.test(value('transfer-encoding') ?? '')) {
    const end = start + Number(value('content-length') ?? '0');
    return { text: octets.slice(start, end), end, isComplete: octets.length >= end };
  }
  let text = '';
  let at = start;
  for (;;) {
    const lineEnd = octets.indexOf('\r\n', at);
    const size = Number.parseInt(octets.slice(at, lineEnd), 16);
    if (lineEnd < 0 || !(size >= 0) || octets.length < lineEnd + 2 + size + 2)
      return { text, end: octets.length, isComplete: false };
    text += octets.slice(lineEnd + 2, lineEnd + 2 + size);
    at = lineEnd + 2 + size + 2;
    if (size === 0) return { text, end: at, isComplete: true };
  }
}

/** What a client sends: octets, or a pause. */
export type Step = { readonly send?: string; readonly wait_ms?: number };

/** What it got. */
export type Talk = { readonly octets: string; readonly isClosed: boolean };

/**
 * Sends steps over a new connection; ends when the peer closes, or says nothing for `quietMs` after it has said
 * something (`firstMs` before), or `until` holds.
 */
export function talk(
  port: number,
  steps: readonly Step[],
  quietMs = 500,
  until?: (octets: string) => boolean,
  firstMs = quietMs,
): Promise<Talk> {
  const { promise, resolve } = Promise.withResolvers<Talk>();
  const socket = connect(port, '127.0.0.1');
  let octets = '';
  let isClosed = false;
  let quiet: NodeJS.Timeout | undefined;
  const finish = () => {
    clearTimeout(quiet);
    resolve({ octets, isClosed });
    socket.destroy();
  };
  const arm = () => {
    clearTimeout(quiet);
    quiet = setTimeout(finish, octets === '' ? firstMs : quietMs);
  };
  const run = async () => {
    for (const step of steps) {
      if (step.send !== undefined && !socket.destroyed) socket.write(Buffer.from(step.send, 'latin1'));
      if (step.wait_ms !== undefined) await new Promise((done) => setTimeout(done, step.wait_ms));
    }
    if (!isClosed) arm();
  };
  socket.on('connect', () => void run());
  socket.on('data', (bytes) => {
    octets += bytes.toString('latin1');
    if (until?.(octets) === true) finish();
    else if (quiet !== undefined) arm();
  });
  socket.on('error', () => undefined);
  socket.on('close', () => {
    isClosed = true;
    finish();
  });
  return promise;
}

/** One answer of a connection. */
export type Answer = { readonly status: number; readonly head: string; readonly body: string };

/** Reads the answers that lie one after the other in octets; interim ones included. */
export function parseAnswers(octets: string, isHead = false): readonly Answer[] {
  const found: Answer[] = [];
  let at = 0;
  while (at < octets.length) {
    const match = /^HTTP\/1\.[01] (\d{3})/.exec(octets.slice(at, at + 13));
    const end = octets.indexOf('\r\n\r\n', at);
    if (match === null || end < 0) break;
    const status = Number(match[1]);
    const head = octets.slice(at, end + 2);
    const { body, next } = answerBody(octets, end + 4, status, head, isHead);
    found.push({ status, head, body });
    at = next;
  }
  return found;
}

function answerBody(octets: string, start: number, status: number, head: string, isHead: boolean) {
  if (status < 200 || status === 204 || status === 304 || isHead) return { body: '', next: start };
  if (/\r\ntransfer-encoding: *chunked/i.test(head)) {
    const { text, end } = readBody(octets, start, [['transfer-encoding', 'chunked']]);
    return { body: text, next: end };
  }
  const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
  const next = length === undefined ? octets.length : start + Number(length);
  return { body: octets.slice(start, next), next };
}

/** One request over a connection of its own, and its final answer; status 0 when there was none. */
export async function ask(
  port: number,
  target: string,
  options: { method?: string; token?: string; fields?: readonly string[]; body?: string; quietMs?: number } = {},
): Promise<Answer> {
  const { method = 'GET', token, fields = [], body } = options;
  const lines = [
    `${method} ${target} HTTP/1.1`,
    'Host: proxy.test',
    ...(token === undefined ? [] : [`Authorization: Bearer ${token}`]),
    ...(body === undefined ? [] : [`Content-Length: ${Buffer.byteLength(body)}`]),
    ...fields,
    'Connection: close',
  ];
  const { octets } = await talk(
    port,
    [{ send: `${lines.join('\r\n')}\r\n\r\n${body ?? ''}` }],
    options.quietMs ?? 4000,
  );
  return (
    parseAnswers(octets, method === 'HEAD').find(({ status }) => status >= 200) ?? { status: 0, head: '', body: '' }
  );
}

/** The value of a field of a head. */
export const fieldOf = (head: string, name: string): string | undefined =>
  new RegExp(`\\r\\n${name}: *([^\\r]*)`, 'i').exec(head)?.[1];

/** The code of a problem. */
export const codeIn = (answer: Answer): unknown => (JSON.parse(answer.body) as { code?: unknown }).code;

/** Waits until something holds. */
export const soon = (probe: () => boolean): Promise<boolean> => until('the awaited state', probe);
