// The clients of `fleet.ts` and their upstream, one process: to each node a connection that asks without pause, or at a pace. It is
// told by messages what to ask with, and says when a node began to refuse it, which snapshots answered first, and how long answers took.

import { type AddressInfo, connect, createServer } from 'node:net';

/** What the clients are told. */
export type Told =
  | { readonly nodes: readonly number[]; readonly path: string; readonly token: string; readonly everyMs: number }
  /** From the next request on; and have each node stream something that does not end. */
  | { readonly use: string; readonly streams: boolean }
  /** Forget what was noted, note anew. */
  | { readonly note: true };

/** What they say, times in ms of the machine's monotonic clock. */
export type Said =
  | { readonly upstream: number }
  /** A node has answered with a token for the first time: with what. */
  | { readonly node: number; readonly token: string; readonly status: number; readonly at: number }
  /** A stream has begun, or was cut. */
  | { readonly node: number; readonly stream: 'begun' | 'cut'; readonly token: string; readonly at: number }
  /** A node answers by a snapshot. */
  | { readonly node: number; readonly version: number; readonly at: number }
  | { readonly latencies: readonly (readonly [sentAt: number, ms: number])[]; readonly wrong: number };

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const STREAM = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n\n\n\r\n';

/** The machine's monotonic clock, which all processes share, in ms. */
export const clock = (): number => Number(process.hrtime.bigint() / 1000n) / 1000;

if (process.send !== undefined) await serve();

async function serve(): Promise<void> {
  const say = (said: Said): void => void process.send?.(said);
  const upstream = createServer((socket) => {
    socket.setNoDelay(true);
    socket.on('error', () => undefined);
    // Requests have no body and come one at a time.
    socket.on('data', (bytes) => socket.write(bytes.includes('GET /stream ') ? STREAM : OK));
  });
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve));
  say({ upstream: (upstream.address() as AddressInfo).port });
  let token = '';
  let latencies: (readonly [number, number])[] = [];
  let wrong = 0;
  let round = 0;
  let ports: readonly number[] = [];
  let prefix = '';
  process.on('message', (told: Told) => {
    if ('use' in told) {
      token = told.use;
      if (told.streams) for (const [node, port] of ports.entries()) openStream(node, port, `${prefix}/stream`, token);
    } else if ('note' in told) {
      say({ latencies, wrong });
      latencies = [];
      wrong = 0;
    } else {
      round += 1;
      token = told.token;
      ports = told.nodes;
      prefix = told.path.slice(0, told.path.lastIndexOf('/'));
      for (const [node, port] of told.nodes.entries()) startClient(round, node, port, told);
    }
  });

  /** Says when a stream has begun, and when it ends. */
  function openStream(node: number, port: number, path: string, by: string): void {
    const socket = connect(port, '127.0.0.1').on('error', () => undefined);
    socket.write(`GET ${path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${by}\r\n\r\n`);
    socket.once('data', () => say({ node, stream: 'begun', token: by, at: clock() }));
    socket.on('close', () => say({ node, stream: 'cut', token: by, at: clock() }));
  }

  /** Asks a node until others are told to; a connection that ends is made again. */
  function startClient(own: number, node: number, port: number, { path, everyMs }: Extract<Told, { path: string }>) {
    let [asked, answered, version, due, got] = ['', '', 0, clock(), ''];
    const open = (): void => {
      if (own !== round) return;
      const socket = connect(port, '127.0.0.1').setNoDelay(true);
      const ask = (): void => {
        if (own !== round) socket.destroy();
        if (socket.destroyed) return;
        asked = token;
        due = everyMs === 0 ? clock() : Math.max(due + everyMs, clock() - 1000);
        const request = `GET ${path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${asked}\r\n\r\n`;
        const wait = due - clock();
        if (wait > 0.5) setTimeout(() => socket.write(request), wait);
        else socket.write(request);
      };
      const answer = (status: number, seen: number): void => {
        const at = clock();
        if (status === 200) latencies.push([due, at - due]);
        else if (status !== 401) wrong += 1;
        if (`${status} ${asked}` !== answered) say({ node, token: asked, status, at });
        answered = `${status} ${asked}`;
        if (seen !== version) say({ node, version: seen, at });
        version = seen;
      };
      socket.on('connect', ask);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        got = '';
        setTimeout(open, 5);
      });
      socket.on('data', (bytes) => {
        got += bytes.toString('latin1');
        const head = got.indexOf('\r\n\r\n');
        if (head < 0) return;
        const length = Number(/\r\ncontent-length: (\d+)/i.exec(got)?.[1] ?? 0);
        if (got.length < head + 4 + length) return;
        const seen = Number(/snapshot;desc="(\d+)"/.exec(got.slice(0, head))?.[1] ?? version);
        const status = Number(got.slice(9, 12));
        got = '';
        answer(status, seen);
        ask();
      });
    };
    open();
  }
}
