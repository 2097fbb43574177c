// The same octets to node:http and to the transport: what each took for a request, and whether it kept the connection.
import { createServer as createHttp, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { DEFAULT_LIMITS } from '../../data-plane/limits.ts';
import { type Host, ServerConnection } from '../../data-plane/transport/server-connection.ts';
import type { Arriving } from '../../data-plane/transport/types.ts';
import { readHead } from '../../data-plane/wire.ts';
import { answer, transportOptions, whole } from './transport-fixture.ts';

/** A request that came whole. */
export type Taken = {
  readonly method: string;
  readonly target: string;
  readonly version: string;
  readonly fields: readonly string[];
  /** In latin1. */
  readonly body: string;
};

/** What a server made of the octets. */
export type Reading = {
  readonly taken: readonly Taken[];
  /** Why it refused, as llhttp calls it; empty: it did not. */
  readonly refused: string;
  readonly isClosed: boolean;
};

/** What both made of them. */
export type Pair = { readonly oracle: Reading; readonly transport: Reading };

/** Both servers. */
export type Oracle = {
  /** Sends pieces, each after the one before it was read; with `ends` the client then closes its side. */
  read(pieces: readonly string[], ends: boolean): Promise<Pair>;
  close(): void;
};

/** Starts both; neither keeps the process running. */
export async function startOracle(headBytesMax = 16 * 1024): Promise<Oracle> {
  const servers = [httpServer(headBytesMax), transportServer(headBytesMax)] as const;
  const seats = servers.map(({ server }) => server);
  for (const server of seats) {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    server.unref();
  }
  return {
    async read(pieces, ends) {
      const [oracle, transport] = await Promise.all([
        tell(servers[0], withoutOffers(pieces), ends),
        tell(servers[1], pieces, ends),
      ]);
      if (oracle === undefined || transport === undefined) throw new Error('a server said nothing');
      return { oracle, transport };
    },
    close() {
      for (const server of seats) server.close();
    },
  };
}

// Behind an offer to upgrade that nobody takes, node:http loses the rest of the packet; the transport reads on. So for
// the oracle the offer is a field of no meaning.
function withoutOffers(pieces: readonly string[]): readonly string[] {
  const plain = pieces.join('').replaceAll(/u(?=pgrade:)/gi, OFFER);
  let at = 0;
  return pieces.map(({ length }) => {
    at += length;
    return plain.slice(at - length, at);
  });
}

/** What the `u` of `upgrade` is on the side of node:http. */
export const OFFER = 'x';

/** What is seen on the side of the server. */
type Seat = { readonly socket: Socket; readonly taken: Taken[]; refused: string; isOver: boolean; events: number };
type Seated = { readonly server: Server; next(): Promise<Seat> };

const TURNS = 6;
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function tell({ server, next }: Seated, pieces: readonly string[], ends: boolean): Promise<Reading> {
  const seating = next();
  const client = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', noDelay: true });
  client.on('error', () => undefined);
  client.resume();
  const seat = await seating;
  let sent = 0;
  for (const piece of pieces) {
    if (seat.isOver) break;
    client.write(piece, 'latin1');
    sent += piece.length;
    await settled(seat, sent);
  }
  if (ends) {
    client.end();
    await settled(seat, sent);
  }
  const { taken, refused } = seat;
  const isClosed = seat.isOver || seat.socket.writableEnded;
  client.destroy();
  return { taken: [...taken], refused, isClosed };
}

/** Waits until all has been read, and nothing has happened for some turns of the loop. */
async function settled(seat: Seat, sent: number): Promise<void> {
  const deadline = performance.now() + 10_000;
  let quiet = 0;
  let events = -1;
  while (quiet < TURNS && performance.now() < deadline) {
    await turn();
    const isStill =
      seat.events === events && (seat.isOver || seat.socket.writableEnded || seat.socket.bytesRead >= sent);
    quiet = isStill ? quiet + 1 : 0;
    events = seat.events;
  }
}

function seated(server: Server, seats: Map<Socket, Seat>): Seated {
  const waiting: ((seat: Seat) => void)[] = [];
  server.prependListener('connection', (socket: Socket) => {
    const seat: Seat = { socket, taken: [], refused: '', isOver: false, events: 0 };
    seats.set(socket, seat);
    socket.on('end', () => {
      seat.events += 1;
    });
    socket.on('close', () => {
      seat.isOver = true;
      seats.delete(socket);
    });
    waiting.shift()?.(seat);
  });
  return { server, next: () => new Promise((resolve) => waiting.push(resolve)) };
}

function refuse(seat: Seat | undefined, error: Error): void {
  if (seat === undefined) return;
  seat.events += 1;
  seat.refused ||= String(Reflect.get(error, 'code'));
}

function httpServer(maxHeaderSize: number): Seated {
  const seats = new Map<Socket, Seat>();
  const server = createHttp({ insecureHTTPParser: false, requireHostHeader: false, maxHeaderSize, noDelay: true });
  server.maxHeadersCount = 0;
  server.keepAliveTimeout = 60_000;
  const answered = (request: IncomingMessage, response: ServerResponse): void => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('error', () => undefined);
    request.on('end', () => {
      const { method = '', url = '', httpVersion: version, rawHeaders: fields } = request;
      const seat = seats.get(request.socket);
      if (seat === undefined || !request.complete) return;
      seat.events += 1;
      seat.taken.push({ method, target: url, version, fields, body: Buffer.concat(parts).toString('latin1') });
      response.writeHead(200, { 'content-length': 2 }).end('ok');
    });
  };
  for (const event of ['request', 'checkExpectation']) server.on(event, answered);
  // Who is not told to go on has his connection ended: he may send the body or not.
  server.on('checkContinue', (request, response) => {
    response.writeContinue();
    answered(request, response);
  });
  server.on('connect', (_request, socket: Socket) => {
    refuse(seats.get(socket), Object.assign(new Error(), { code: 'CONNECT' }));
    socket.destroy();
  });
  server.on('clientError', (error, socket) => {
    refuse(seats.get(socket as Socket), error);
    // What came whole before it is still told.
    setImmediate(() => setImmediate(() => socket.destroy()));
  });
  return seated(server, seats);
}

/** What the parser lets through, and `wire.ts` then does not: more than one way to say where a body ends. */
export const FRAMING = 'framing_invalid';

const isFramed = ({ fields, minor }: Arriving): boolean => {
  const framing = fields.flatMap((name, at) =>
    at % 2 === 0 && /^(?:content-length|transfer-encoding)$/i.test(name) ? [name, fields[at + 1] ?? ''] : [],
  );
  const head = { method: 'POST', target: '/', major: 1, minor, fields: ['host', 'h', ...framing] };
  try {
    readHead(head, DEFAULT_LIMITS);
    return true;
  } catch (error) {
    if (codeOf(error) === FRAMING) return false;
    return codeOf(error) === 'body_too_large';
  }
};

const codeOf = (error: unknown): unknown => (error instanceof Error ? Reflect.get(error, 'code') : undefined);

function transportServer(headBytesMax: number): Seated {
  const seats = new Map<Socket, Seat>();
  const refused = (error: Error, socket: Socket): void => {
    refuse(seats.get(socket), error);
    socket.destroy();
  };
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    const host: Host = {
      ...transportOptions,
      clock: { soonest: Number.POSITIVE_INFINITY },
      headBytesMax,
      date: () => '',
      isDraining: () => false,
      keepAliveFields: '',
      onRequest({ request, response }) {
        if (!isFramed(request)) {
          refused(Object.assign(new Error(), { code: FRAMING }), socket);
          return;
        }
        whole(request, (body) => {
          const { method, target, fields, major, minor } = request;
          const seat = seats.get(socket);
          if (seat === undefined) return;
          seat.events += 1;
          seat.taken.push({ method, target, version: `${major}.${minor}`, fields, body: body.toString('latin1') });
          answer(response, 'ok');
        });
      },
      onWireError: refused,
      reasonOf(error) {
        refused(error, socket);
        return error;
      },
      onConnect: (connection) => refused(Object.assign(new Error(), { code: 'CONNECT' }), connection),
      onClose: () => undefined,
    };
    new ServerConnection(socket, host);
  });
  return seated(server, seats);
}
