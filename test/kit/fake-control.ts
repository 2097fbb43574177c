// A control plane of a test's own, over a real socket: it says to nodes exactly the bytes that it is told to.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import {
  type ReportRequest,
  ReportRequestSchema,
  type WatchRequest,
  WatchRequestSchema,
  WatchResponseSchema,
} from '@daypass/sdk/gen/daypass/v1/snapshot_pb';

/** What a stream brings; see snapshot.proto. */
export type WatchEvent = MessageInitShape<typeof WatchResponseSchema>;

/** A node's word, and when it came (ms of the machine's monotonic clock). */
export type Heard = { readonly report: ReportRequest; readonly at: number };

/** Answers a node that begins to watch. */
export type OnWatch = (stream: ServerResponse, request: WatchRequest) => void;

/** The control plane. It answers reports, and nothing but Watch beside. */
export type FakeControl = {
  readonly url: string;
  /** All that nodes have reported. */
  readonly heard: readonly Heard[];
  /** Who has begun to watch, in that order. */
  readonly watched: readonly WatchRequest[];
  /** How many streams are open. */
  streams(): number;
  /** Says something to every stream that is open. */
  send(bytes: Uint8Array): void;
  /** What is done from now on with a stream that opens; a heartbeat is sent if nothing else is said. */
  onWatch(then: OnWatch): void;
  /** Ends every stream, in the middle of what it is saying. */
  cut(): void;
  close(): Promise<void>;
};

/** One message of a stream as it goes over the wire (https://connectrpc.com/docs/protocol#streaming-response). */
export const frameOf = (event: WatchEvent): Uint8Array => {
  const message = toBinary(WatchResponseSchema, create(WatchResponseSchema, event));
  const frame = Buffer.alloc(5 + message.length);
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, 5);
  return frame;
};

/** A heartbeat that names a version. */
export const heartbeat = (version: number): Uint8Array =>
  frameOf({ event: { case: 'heartbeat', value: { version: BigInt(version) } } });

/** Starts it on a free port. */
export async function startFakeControl(): Promise<FakeControl> {
  const heard: Heard[] = [];
  const watched: WatchRequest[] = [];
  const streams = new Set<ServerResponse>();
  let onWatch: OnWatch = (stream) => stream.write(heartbeat(0));
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const body = await whole(request);
    const method = request.url?.split('/').at(-1);
    if (method === 'Watch') {
      response.writeHead(200, { 'content-type': 'application/connect+proto' });
      response.flushHeaders();
      streams.add(response);
      response.on('close', () => streams.delete(response));
      const said = fromBinary(WatchRequestSchema, body.subarray(5));
      watched.push(said);
      onWatch(response, said);
    } else if (method === 'Report') {
      heard.push({ report: fromBinary(ReportRequestSchema, body), at: Number(process.hrtime.bigint() / 1000n) / 1000 });
      response.writeHead(200, { 'content-type': 'application/proto' }).end();
    } else response.writeHead(503).end();
  };
  const server = createServer((request, response) => {
    response.on('error', () => undefined);
    answer(request, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    heard,
    watched,
    streams: () => streams.size,
    send: (bytes) => {
      for (const stream of streams) stream.write(bytes);
    },
    onWatch: (then) => {
      onWatch = then;
    },
    cut: () => {
      for (const stream of streams) stream.socket?.destroy();
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function whole(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts);
}
