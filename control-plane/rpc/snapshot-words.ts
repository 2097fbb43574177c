// Snapshots and deltas as messages; in the binary form each is encoded once for all nodes that it is sent to.
import { create, type Message, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import type { Entry } from '@daypass/core/snapshot';
import type { SnapshotEvent } from '../domain/node-feed.ts';
import type { Published } from '../domain/published.ts';
import type { SnapshotDelta } from '../domain/snapshot-delta.ts';
import { SnapshotDeltaSchema, SnapshotSchema } from '../gen/daypass/v1/snapshot_pb.ts';

/** Writes the snapshot or delta of an event into a field of a new message, in place of what is there under that number. */
export type WriteEvent = <M extends Message>(message: M, field: number, event: SnapshotEvent) => Promise<M>;

/** A snapshot as a message. */
export const toSnapshot = ({ snapshot }: Published) => ({
  ...signedPart(snapshot),
  entries: snapshot.entries.map(toEntry),
});

/** A delta as a message. */
export const toDelta = ({ from, to, changed, removed }: SnapshotDelta) => ({
  baseVersion: BigInt(from.version),
  baseDigest: from.digest,
  ...signedPart(to.snapshot),
  changed: changed.map(toEntry),
  removed: removed.map(toName),
});

const signedPart = ({ manifest, signature, key }: Published['snapshot']) => ({
  manifest,
  signature,
  key: { statement: key.statement, signature: key.signature },
});

const toName = ({ kind, name }: Pick<Entry, 'kind' | 'name'>) => ({ kind, name });
const toEntry = ({ kind, name, content }: Entry) => ({ kind, name, content });

/** Makes the writer; what it has encoded goes with the snapshot or delta. */
export const createEventWriter = (): WriteEvent => {
  const kept = new WeakMap<Published | SnapshotDelta, Promise<Uint8Array>>();
  const encoded = (event: SnapshotEvent): Promise<Uint8Array> => {
    const key = event.kind === 'delta' ? event.delta : event.published;
    const bytes =
      kept.get(key) ?? withLength(event.kind === 'delta' ? encodeDelta(event.delta) : encodeSnapshot(event.published));
    kept.set(key, bytes);
    return bytes;
  };
  return async (message, no, event) => {
    // Fields whose form is not known are written as they are: so bytes that were encoded before are part of a message.
    message.$unknown = [{ no, wireType: WireType.LengthDelimited, data: await encoded(event) }];
    return message;
  };
};

/** Whether a call is answered in the binary form. */
export const isBinary = (header: Headers): boolean => {
  const type = header.get('content-type') ?? '';
  return type !== '' && !type.includes('json');
};

/** The loop gets its turn after so many entries. */
const TURN_ENTRIES = 500;

/** Encoded messages one after another are one message: the entries of all. */
function* encodeSnapshot({ snapshot }: Published): Generator<Uint8Array> {
  yield toBinary(SnapshotSchema, create(SnapshotSchema, signedPart(snapshot)));
  for (const entries of slicesOf(snapshot.entries)) {
    yield toBinary(SnapshotSchema, create(SnapshotSchema, { entries: entries.map(toEntry) }));
  }
}

function* encodeDelta(delta: SnapshotDelta): Generator<Uint8Array> {
  yield toBinary(SnapshotDeltaSchema, create(SnapshotDeltaSchema, toDelta({ ...delta, changed: [], removed: [] })));
  for (const changed of slicesOf(delta.changed)) {
    yield toBinary(SnapshotDeltaSchema, create(SnapshotDeltaSchema, { changed: changed.map(toEntry) }));
  }
  for (const removed of slicesOf(delta.removed)) {
    yield toBinary(SnapshotDeltaSchema, create(SnapshotDeltaSchema, { removed: removed.map(toName) }));
  }
}

function* slicesOf<T>(all: readonly T[]): Generator<readonly T[]> {
  for (let at = 0; at < all.length; at += TURN_ENTRIES) yield all.slice(at, at + TURN_ENTRIES);
}

const withLength = async (encoding: Iterable<Uint8Array>): Promise<Uint8Array> => {
  const parts: Uint8Array[] = [];
  for (const part of encoding) {
    // A few parts are a small message.
    if (parts.length > SMALL_PARTS) await new Promise((resolve) => setImmediate(resolve));
    parts.push(part);
  }
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  return Buffer.concat([new BinaryWriter().uint32(length).finish(), ...parts]);
};

const SMALL_PARTS = 3;
