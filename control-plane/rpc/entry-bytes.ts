// Entries in the wire form of protobuf, written into one buffer: hundreds of thousands of message objects would cost far more.
import { WireType } from '@bufbuild/protobuf/wire';
import type { Entry } from '@daypass/core/snapshot';
import { SnapshotEntrySchema } from '../gen/daypass/v1/snapshot_pb.ts';

/**
 * A message as a field of another: its length, what is encoded of it already, and entries as its repeated field of that
 * number (https://protobuf.dev/programming-guides/encoding). Gives the loop its turn between.
 */
export const withEntries = async (head: Uint8Array, field: number, entries: readonly Entry[]): Promise<Uint8Array> => {
  let length = head.length;
  for (let at = 0; at < entries.length; at += TURN_ENTRIES) {
    if (at > 0) await turn();
    for (const entry of entries.slice(at, at + TURN_ENTRIES)) length += prefixed(entrySize(entry));
  }
  const bytes = Buffer.allocUnsafeSlow(varintSize(length) + length);
  let end = writeVarint(bytes, 0, length);
  bytes.set(head, end);
  end += head.length;
  for (let at = 0; at < entries.length; at += TURN_ENTRIES) {
    if (at > 0) await turn();
    for (const entry of entries.slice(at, at + TURN_ENTRIES)) end = writeEntry(bytes, end, tagOf(field), entry);
  }
  return bytes;
};

/** The loop gets its turn after so many. */
const TURN_ENTRIES = 2000;
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** In one byte: all fields here have numbers below 16. */
const tagOf = (field: number): number => (field << 3) | WireType.LengthDelimited;
const KIND = tagOf(SnapshotEntrySchema.field.kind.number);
const NAME = tagOf(SnapshotEntrySchema.field.name.number);
const CONTENT = tagOf(SnapshotEntrySchema.field.content.number);

const varintSize = (value: number): number => {
  let size = 1;
  for (let rest = value; rest > 0x7f; rest = Math.floor(rest / 128)) size += 1;
  return size;
};

/** With tag and length. */
const prefixed = (size: number): number => 1 + varintSize(size) + size;

const entrySize = ({ kind, name, content }: Entry): number =>
  prefixed(Buffer.byteLength(kind)) + prefixed(Buffer.byteLength(name)) + prefixed(content.length);

const writeVarint = (bytes: Buffer, at: number, value: number): number => {
  let end = at;
  let rest = value;
  for (; rest > 0x7f; rest = Math.floor(rest / 128)) end = bytes.writeUInt8((rest % 128) | 0x80, end);
  return bytes.writeUInt8(rest, end);
};

const writePrefix = (bytes: Buffer, at: number, tag: number, size: number): number =>
  writeVarint(bytes, bytes.writeUInt8(tag, at), size);

const writeText = (bytes: Buffer, at: number, tag: number, text: string): number => {
  const start = writePrefix(bytes, at, tag, Buffer.byteLength(text));
  return start + bytes.write(text, start);
};

const writeEntry = (bytes: Buffer, at: number, tag: number, entry: Entry): number => {
  const { kind, name, content } = entry;
  const start = writePrefix(bytes, at, tag, entrySize(entry));
  const end = writePrefix(
    bytes,
    writeText(bytes, writeText(bytes, start, KIND, kind), NAME, name),
    CONTENT,
    content.length,
  );
  bytes.set(content, end);
  return end + content.length;
};
