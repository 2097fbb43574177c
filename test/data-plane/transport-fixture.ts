// Both ends of the transport by themselves: a server with a handler, a pool of one origin, clients and upstreams of octets.

import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { DEFAULT_LIMITS } from '../../data-plane/limits.ts';
import { answerFields, requestLines } from '../../data-plane/transport/head-text.ts';
import { createTransportServer, type TransportOptions } from '../../data-plane/transport/server.ts';
import type {
  Answer,
  Arrival,
  Arriving,
  BodySource,
  UpstreamControl,
  UpstreamRequest,
} from '../../data-plane/transport/types.ts';
import { createUpstreamPool, ONREAD, type PoolOptions } from '../../data-plane/transport/upstream.ts';
import { until } from '../kit/deadline.ts';
import { run } from '../kit/process.ts';

/** Options of a server that answers nothing by itself. */
export const transportOptions: TransportOptions = {
  ...DEFAULT_LIMITS,
  tls: undefined,
  failureFlow: { burst: 1, perMs: 1 },
  nowMs: Date.now,
  onRequest: () => undefined,
  onWireError: (_error, socket) => socket.destroy(),
  reasonOf: (error) => error,
  onConnect: (socket) => socket.destroy(),
};

/** Starts a server on a free port; `errors` are the codes of what was no request. */
export async function startTransport(
  onRequest: (arrival: Arrival) => void,
  options: Partial<TransportOptions> = {},
): Promise<{ port: number; errors: string[]; server: ReturnType<typeof createTransportServer> } & AsyncDisposable> {
  const errors: string[] = [];
  const server = createTransportServer({
    ...transportOptions,
    onWireError(error, socket) {
      errors.push(String(Reflect.get(error, 'code')));
      socket.end('HTTP/1.1 400 Bad\r\n\r\n', () => socket.destroy());
    },
    onRequest,
    ...options,
  });
  const { port } = await server.listen('127.0.0.1', 0);
  return { port, errors, server, [Symbol.asyncDispose]: () => server.close() };
}

/** Reads a body whole, and then tells. */
export function whole(request: Arriving, tell: (body: Buffer) => void): void {
  const parts: Buffer[] = [];
  request.read({
    data: (part) => parts.push(Buffer.from(part)),
    end: () => tell(Buffer.concat(parts)),
    cut: () => undefined,
  });
}

/** Answers 200 with a body. */
export function answer(response: Answer, body: string | Buffer): void {
  const bytes = Buffer.from(body);
  response.begin(200, '', answerFields(['content-length', String(bytes.length)]));
  response.end(bytes);
}

/** Answers with the method, the target and the body of the request. */
export const echo = ({ request, response }: Arrival): void =>
  whole(request, (body) => answer(response, `<${request.method} ${request.target} ${body.toString('latin1')}>`));

/** A certificate for 127.0.0.1, and its key, in PEM. */
export async function certificate(): Promise<{ readonly cert: string; readonly key: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'daypass-tls-'));
  try {
    const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
    const made = await run('openssl', [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'],
      ...['-subj', '/CN=test', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', cert],
    ]);
    if (made.code !== 0) throw new Error(made.stderr);
    return { cert: await readFile(cert, 'utf8'), key: await readFile(key, 'utf8') };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A client of octets. */
export function dialRaw(port: number, allowHalfOpen = true) {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen, noDelay: true });
  let octets = '';
  let isClosed = false;
  let hasEnded = false;
  socket.on('data', (bytes) => {
    octets += bytes.toString('latin1');
  });
  socket.on('end', () => {
    hasEnded = true;
  });
  socket.on('error', () => undefined);
  socket.on('close', () => {
    isClosed = true;
  });
  return {
    socket,
    octets: () => octets,
    /** The other side is gone. */
    isOver: () => hasEnded || isClosed,
    send: (text: string) => new Promise<void>((resolve) => socket.write(text, 'latin1', () => resolve())),
    /** Waits for so many octets of a kind. */
    got: (text: string, times = 1) => until(`${times} of ${text}`, () => octets.split(text).length > times),
    over: () => until('the end of the connection', () => hasEnded || isClosed),
    [Symbol.dispose]: () => socket.destroy(),
  };
}

/** An upstream that hands each connection and what comes on it to `speak`. */
export async function startUpstream(speak: (socket: Socket, octets: string, nth: number) => void) {
  const sockets = new Set<Socket>();
  let dialled = 0;
  const server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
    const nth = dialled;
    dialled += 1;
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => undefined);
    socket.on('end', () => socket.end());
    socket.on('data', (bytes) => speak(socket, bytes.toString('latin1'), nth));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    port,
    sockets,
    dialled: () => dialled,
    [Symbol.dispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

/** A pool of connections to a port of this machine. */
export function poolTo(port: number, options: Partial<PoolOptions> = {}) {
  const pool = createUpstreamPool({
    dial(opened) {
      const socket = connect({ port, host: '127.0.0.1', onread: ONREAD });
      const failed = (error: Error): void => opened(error, null);
      socket.once('error', failed);
      socket.once('connect', () => {
        socket.off('error', failed);
        opened(null, socket);
      });
    },
    host: 'upstream',
    connectionsMax: 64,
    headBytesMax: 16 * 1024,
    keepAliveTimeoutMs: 4_000,
    sweepMs: 10,
    ...options,
  });
  const sweeps = setInterval(() => pool.sweep(performance.now()), 10).unref();
  return Object.assign(pool, {
    [Symbol.dispose]() {
      clearInterval(sweeps);
      pool.destroy();
    },
  });
}

/** What came of an exchange. */
export type Exchanged = {
  status: number;
  reason: string;
  fields: readonly string[];
  body: string;
  interims: number[];
  end: 'none' | 'whole' | 'failed';
  error: unknown;
  control: UpstreamControl | undefined;
};

/** What cannot be written as lines fails before it is sent. */
function linesOf(
  noted: Exchanged,
  fields: readonly string[],
): Pick<UpstreamRequest, 'lines' | 'contentLength'> | undefined {
  const [name, length] = fields;
  const isLength = name === 'content-length';
  try {
    return { lines: requestLines(isLength ? [] : fields), contentLength: isLength ? Number(length) : undefined };
  } catch (error) {
    Object.assign(noted, { end: 'failed', error });
    return undefined;
  }
}

/** A stream as the transport takes a body. */
function sourceOf(stream: Readable): BodySource {
  return {
    get errored() {
      return stream.errored;
    },
    begin(sink) {
      if (stream.errored !== null) sink.failed(stream.errored);
      stream.on('data', (part: Buffer) => sink.data(part));
      stream.on('end', () => sink.end());
      stream.on('error', (error) => sink.failed(error));
    },
    pause: () => void stream.pause(),
    resume: () => void stream.resume(),
    destroy: () => void stream.destroy(),
  };
}

/** Sends a request; what is told of it is noted as it comes. */
export function dispatch(
  pool: ReturnType<typeof poolTo>,
  {
    fields = [],
    body = null,
    ...request
  }: Partial<Omit<UpstreamRequest, 'body'>> & {
    readonly fields?: readonly string[];
    readonly body?: Uint8Array | Readable | null;
  } = {},
): Exchanged {
  const noted: Exchanged = {
    status: 0,
    reason: '',
    fields: [],
    body: '',
    interims: [],
    end: 'none',
    error: undefined,
    control: undefined,
  };
  const given = linesOf(noted, fields);
  if (given === undefined) return noted;
  pool.dispatch(
    {
      method: 'GET',
      path: '/',
      timeoutMs: 5_000,
      body: body instanceof Readable ? sourceOf(body) : body,
      ...given,
      ...request,
    },
    {
      started(control) {
        noted.control = control;
      },
      interim: (status) => noted.interims.push(status),
      head: (status, reason, fields) => Object.assign(noted, { status, reason, fields: [...fields] }),
      data(part) {
        noted.body += part.toString('latin1');
      },
      waits: () => undefined,
      end() {
        noted.end = 'whole';
      },
      failed: (error) => Object.assign(noted, { end: 'failed', error }),
    },
  );
  return noted;
}

/** Waits for the end of an exchange. */
export const ended = async (noted: Exchanged): Promise<Exchanged> => {
  await until('the end of an exchange', () => noted.end !== 'none');
  return noted;
};
