// Writes all entries of a table into one message, in their order: what has changed since the last such lies no longer apart.
import { create, toBinary } from '@bufbuild/protobuf';
import { SnapshotSchema } from '@daypass/sdk/gen/daypass/v1/snapshot_pb';
import { type EntryTable, placeOf, readAt, slotOf } from './entry-table.ts';
import type { Whole } from './handover.ts';
import { ENTRY_TAG, readRaw, type Signed } from './message.ts';
import type { Pace } from './pace.ts';

/** A table that lies in one segment, and that segment. */
export type Compacted = { readonly base: Whole['base']; readonly table: EntryTable };

/** The `Snapshot` message, in shared memory, of a table and what signed it. */
export async function compact(table: EntryTable, signed: Signed, number: number, pace: Pace): Promise<Compacted> {
  const head = toBinary(SnapshotSchema, create(SnapshotSchema, { ...signed, entries: [] }));
  const count = table.order.length;
  let length = head.length;
  for (let index = 0; index < count; index += 1) length += 1 + readAt(table, index, readRaw).length;
  const message = Buffer.from(new SharedArrayBuffer(length));
  const places = new Uint32Array(new SharedArrayBuffer(count * Uint32Array.BYTES_PER_ELEMENT));
  message.set(head);
  let end = head.length;
  for (let index = 0; index < count; index += 1) {
    const raw = readAt(table, index, readRaw);
    message[end] = ENTRY_TAG;
    message.set(raw, end + 1);
    places[index] = end + 1;
    end += 1 + raw.length;
    const due = pace();
    if (due !== undefined) await due;
  }
  const order = Float64Array.from(places, (at) => placeOf(number, at));
  return {
    base: { number, bytes: message, places },
    table: { ...table, segments: new Map([[slotOf(number), message]]), order },
  };
}
