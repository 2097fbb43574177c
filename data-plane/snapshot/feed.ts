// What the control plane sends of snapshots, by stream or by asking, left as bytes: it goes to the threads as it came.
import type { DescMethodServerStreaming, DescMethodUnary, UnknownField } from '@bufbuild/protobuf';
import { type Empty, EmptySchema } from '@bufbuild/protobuf/wkt';
import { createContextValues, type Transport } from '@connectrpc/connect';
import {
  SnapshotService,
  type SnapshotServiceGetRequestSchema,
  type WatchRequestSchema,
} from '@daypass/sdk/gen/daypass/v1/snapshot_pb';
import { Fields } from './message.ts';

/** A message that leads to a snapshot, in memory that threads share: a `Snapshot`, or a `SnapshotDelta`. */
export type Received = { readonly kind: 'snapshot' | 'delta'; readonly bytes: Buffer };

/** What a node has; version 0: nothing. */
export type Position = { readonly version: bigint; readonly digest: string; readonly acceptsDelta: boolean };

/** The control plane as a node sees it. Both throw ConnectError, and what the transport throws. */
export type SnapshotFeed = {
  /** What leads to the newest snapshot; undefined: the node has it. */
  get(has: Position, signal: AbortSignal): Promise<Received | undefined>;
  /** What leads to each new snapshot, and heartbeats (undefined) between. */
  watch(has: Position, signal: AbortSignal): AsyncIterable<Received | undefined>;
};

/** A large snapshot takes its time. */
const GET_MS = 60_000;

/** A feed by calls of SnapshotService. */
export const createSnapshotFeed = (transport: Transport): SnapshotFeed => ({
  async get(has, signal) {
    const { message } = await transport.unary(GET, signal, GET_MS, undefined, has, createContextValues());
    return receivedIn(message, FIELDS.get);
  },
  async *watch(has, signal) {
    const { message } = await transport.stream(WATCH, signal, 0, undefined, once(has), createContextValues());
    for await (const one of message) yield receivedIn(one, FIELDS.watch);
  },
});

// The contract's methods, whose answers nobody reads: all their fields are unknown, and stay as they came.
const { get, watch } = SnapshotService.method;
const GET: DescMethodUnary<typeof SnapshotServiceGetRequestSchema, typeof EmptySchema> = {
  ...get,
  output: EmptySchema,
};
const WATCH: DescMethodServerStreaming<typeof WatchRequestSchema, typeof EmptySchema> = {
  ...watch,
  output: EmptySchema,
};
const FIELDS = {
  get: { snapshot: get.output.field.snapshot.number, delta: get.output.field.delta.number },
  watch: { snapshot: watch.output.field.snapshot.number, delta: watch.output.field.delta.number },
};

type Numbers = { readonly snapshot: number; readonly delta: number };

function receivedIn({ $unknown: fields = [] }: Empty, numbers: Numbers): Received | undefined {
  let received: Received | undefined;
  for (const field of fields) {
    if (field.no === numbers.snapshot) received = { kind: 'snapshot', bytes: contentOf(field) };
    else if (field.no === numbers.delta) received = { kind: 'delta', bytes: contentOf(field) };
  }
  return received;
}

/** Without its length, in shared memory. */
function contentOf({ data }: UnknownField): Buffer {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  const { start, end } = new Fields(bytes, 0, bytes.length).delimited();
  const content = bytes.subarray(start, end);
  if (data.buffer instanceof SharedArrayBuffer) return content;
  const shared = Buffer.from(new SharedArrayBuffer(content.length));
  shared.set(content);
  return shared;
}

async function* once<T>(value: T): AsyncGenerator<T> {
  yield value;
}
