// Snapshots and deltas as messages; in the binary form each is encoded once for all nodes that it is sent to.
import { create, type Message, toBinary } from '@bufbuild/protobuf';
import { WireType } from '@bufbuild/protobuf/wire';
import type { Entry } from '@daypass/core/snapshot';
import type { SnapshotEvent } from '../domain/node-feed.ts';
import type { Published } from '../domain/published.ts';
import type { SnapshotDelta } from '../domain/snapshot-delta.ts';
import { SnapshotDeltaSchema, SnapshotSchema } from '../gen/daypass/v1/snapshot_pb.ts';
import { withEntries } from './entry-bytes.ts';

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
      kept.get(key) ?? (event.kind === 'delta' ? encodeDelta(event.delta) : encodeSnapshot(event.published));
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

const encodeSnapshot = ({ snapshot }: Published): Promise<Uint8Array> => {
  const head = toBinary(SnapshotSchema, create(SnapshotSchema, signedPart(snapshot)));
  return withEntries(head, SnapshotSchema.field.entries.number, snapshot.entries);
};

const encodeDelta = (delta: SnapshotDelta): Promise<Uint8Array> => {
  const head = toBinary(SnapshotDeltaSchema, create(SnapshotDeltaSchema, toDelta({ ...delta, changed: [] })));
  return withEntries(head, SnapshotDeltaSchema.field.changed.number, delta.changed);
};
