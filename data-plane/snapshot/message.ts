// Messages of the contract that hold snapshots, read where they lie: in memory that threads share, of which nothing is copied.
import { fromBinary } from '@bufbuild/protobuf';
import { DaypassError } from '@daypass/core/errors';
import type { SignedKeyBytes } from '@daypass/core/key';
import {
  type Entry,
  type EntryName,
  MAX_ENTRIES,
  MAX_MANIFEST_BYTES,
  type SignedSnapshot,
} from '@daypass/core/snapshot';
import type { SignedDelta } from '@daypass/core/snapshot-delta';
import { SignedKeySchema } from '@daypass/sdk/gen/daypass/v1/key_pb';

/** What signs a snapshot: small, and copied out of the message. */
export type Signed = Omit<SignedSnapshot, 'entries'>;

/** A `Snapshot`, of which only the places of its entries are known. */
export type SnapshotMessage = {
  readonly signed: Signed;
  /** Where each entry begins, for `readName` and `readContent`; in shared memory. */
  readonly places: Uint32Array;
};

/** An entry of a message; `content` lies there. */
export type PlacedEntry = Entry & { readonly at: number };

/** A `SnapshotDelta`; what it changes lies in the message. */
export type DeltaMessage = Omit<SignedDelta, 'changed'> & { readonly changed: readonly PlacedEntry[] };

/** Largest message that holds a snapshot, in bytes: its entries, and what frames them. */
export const SNAPSHOT_BYTES_MAX = 288 * 1024 * 1024;

/** Largest message of the control plane: a snapshot, and what frames it. */
export const MESSAGE_BYTES_MAX = SNAPSHOT_BYTES_MAX + 64;

/** Reads a `Snapshot`. Nothing in it is believed yet. Throws `snapshot_malformed`, or `snapshot_too_large`. */
export function readSnapshot(message: Buffer): SnapshotMessage {
  const places: number[] = [];
  const signed = readSigned(message, SNAPSHOT_FIELDS, ({ field, at }) => {
    if (field === SNAPSHOT_FIELDS.entry) places.push(at);
    if (places.length > MAX_ENTRIES) throw tooLarge('The snapshot has too many entries');
  });
  return { signed, places: sharePlaces(places) };
}

/** Places of entries in memory that threads share. */
export function sharePlaces(places: ArrayLike<number>): Uint32Array {
  const shared = new Uint32Array(new SharedArrayBuffer(places.length * Uint32Array.BYTES_PER_ELEMENT));
  shared.set(places);
  return shared;
}

/** Reads a `SnapshotDelta`. Nothing in it is believed yet. Throws `snapshot_malformed`, or `snapshot_too_large`. */
export function readDelta(message: Buffer): DeltaMessage {
  const base = { version: 0, digest: '' };
  const changed: PlacedEntry[] = [];
  const removed: EntryName[] = [];
  const signed = readSigned(message, DELTA_FIELDS, ({ field, count, at, start, end, value }) => {
    if (count === DELTA_FIELDS.baseVersion) base.version = value;
    else if (field === DELTA_FIELDS.baseDigest) base.digest = message.toString('latin1', start, end);
    else if (field === DELTA_FIELDS.changed) changed.push({ ...readEntry(message, at), at });
    else if (field === DELTA_FIELDS.removed) removed.push(readName(message, at));
    if (changed.length + removed.length > MAX_ENTRIES) throw tooLarge('The delta has too many entries');
  });
  return { ...signed, base, changed, removed };
}

/** The manifest of a message, of which nothing is believed yet; empty where it cannot be found. */
export function readManifest(message: Buffer, kind: 'snapshot' | 'delta'): Uint8Array {
  const number = kind === 'snapshot' ? SNAPSHOT_FIELDS.manifest : DELTA_FIELDS.manifest;
  try {
    for (const fields = new Fields(message, 0, message.length); fields.next(); )
      if (fields.field === number) return copied(fields, MAX_MANIFEST_BYTES);
  } catch {
    // Whoever reads all of it says what is wrong.
  }
  return new Uint8Array();
}

/**
 * The entry at a place: there stands its length, and then the entry. Throws `snapshot_malformed` for more than is signed of
 * it: it would be kept, and written on, with the rest.
 */
export function readEntry(message: Buffer, at: number): Entry {
  const fields = fieldsAt(message, at);
  for (let last = 0; fields.next(); last = fields.field)
    if (fields.field <= last || fields.field > ENTRY_FIELDS.content)
      throw malformed('An entry has a field that is not signed');
  return { ...readName(message, at), content: readContent(message, at) };
}

/** What the entry at a place is called. */
export function readName(message: Buffer, at: number): EntryName {
  const fields = fieldsAt(message, at);
  let [kind, name] = ['', ''];
  while (fields.next()) {
    if (fields.field === ENTRY_FIELDS.kind) kind = message.toString('utf8', fields.start, fields.end);
    else if (fields.field === ENTRY_FIELDS.name) name = message.toString('utf8', fields.start, fields.end);
  }
  return { kind, name };
}

/** What the entry at a place holds, as it lies there. */
export function readContent(message: Buffer, at: number): Buffer {
  const fields = fieldsAt(message, at);
  let content = message.subarray(at, at);
  while (fields.next()) {
    if (fields.field === ENTRY_FIELDS.content) content = message.subarray(fields.start, fields.end);
  }
  return content;
}

/** The entry at a place as it stands in its message: its length, and then the entry. */
export const readRaw = (message: Buffer, at: number): Buffer => message.subarray(at, fieldsAt(message, at).limit);

/** The tag that stands before each entry of a `Snapshot`. */
export const ENTRY_TAG = (4 << 3) | 2;

const SNAPSHOT_FIELDS = { manifest: 1, signature: 2, key: 3, entry: 4 };
const DELTA_FIELDS = { baseVersion: 1, baseDigest: 2, manifest: 3, signature: 4, key: 5, changed: 6, removed: 7 };
const ENTRY_FIELDS = { kind: 1, name: 2, content: 3 };
const KEY_BYTES_MAX = 16_384;

type SignedFields = Pick<typeof SNAPSHOT_FIELDS, 'manifest' | 'signature' | 'key'>;

function readSigned(message: Buffer, of: SignedFields, visit: (fields: Fields) => void): Signed {
  let manifest = new Uint8Array();
  let signature = new Uint8Array();
  let key: Uint8Array | undefined;
  for (const fields = new Fields(message, 0, message.length); fields.next(); ) {
    if (fields.field === of.manifest) manifest = copied(fields, MAX_MANIFEST_BYTES);
    else if (fields.field === of.signature) signature = copied(fields, KEY_BYTES_MAX);
    else if (fields.field === of.key) key = copied(fields, KEY_BYTES_MAX);
    else visit(fields);
  }
  if (key === undefined) throw malformed('The snapshot has no key');
  return { manifest, signature, key: readKey(key) };
}

/** A copy that no other thread has: what is verified is what is used. */
function copied({ message, start, end }: Fields, bytesMax: number): Uint8Array<ArrayBuffer> {
  if (end - start > bytesMax) throw tooLarge('A part of the snapshot is too large');
  const copy = new Uint8Array(end - start);
  copy.set(message.subarray(start, end));
  return copy;
}

function readKey(bytes: Uint8Array): SignedKeyBytes {
  try {
    const { statement, signature } = fromBinary(SignedKeySchema, bytes);
    return { statement, signature };
  } catch (cause) {
    throw malformed('The key of the snapshot cannot be read', cause);
  }
}

const fieldsAt = (message: Buffer, at: number): Fields => new Fields(message, at, message.length).inside();

/** The fields of a message, one after the other (https://protobuf.dev/programming-guides/encoding). */
export class Fields {
  readonly message: Buffer;
  /** The end of the message. */
  limit: number;
  /** The number of a field that has content; 0: it has none. */
  field = 0;
  /** The number of a field that is a number; 0: it is none. */
  count = 0;
  /** Where the length of a field stands, and where its content starts and ends. */
  at = 0;
  start = 0;
  end: number;
  /** Of a field that is a number; those above 2^53 are not exact. */
  value = 0;

  constructor(message: Buffer, at: number, limit: number) {
    this.message = message;
    this.end = at;
    this.limit = limit;
  }

  /** Goes into the message whose length stands here. */
  inside(): this {
    this.delimited();
    this.limit = this.end;
    this.end = this.start;
    return this;
  }

  /** Goes to the next field; false: there is none. Throws `snapshot_malformed`. */
  next(): boolean {
    if (this.end >= this.limit) return false;
    const tag = this.#varint();
    const number = Math.floor(tag / 8);
    const type = tag % 8;
    // Of another type than the contract's, a field is one that nobody knows.
    this.field = type === 2 ? number : 0;
    this.count = type === 0 ? number : 0;
    if (type === 2) this.delimited();
    else if (type === 0) this.value = this.#varint();
    else if (type === 1) this.end += 8;
    else if (type === 5) this.end += 4;
    else throw malformed('The message has a field of an unknown type');
    if (this.end > this.limit) throw malformed('The message is cut');
    return true;
  }

  /** Reads the length that stands here, and what it says where it starts and ends. */
  delimited(): this {
    this.at = this.end;
    const length = this.#varint();
    this.start = this.end;
    this.end += length;
    if (this.end > this.limit) throw malformed('The message is cut');
    return this;
  }

  #varint(): number {
    let value = 0;
    for (let weight = 1; weight <= 2 ** 63; weight *= 128) {
      const byte = this.end < this.limit ? this.message[this.end] : undefined;
      if (byte === undefined) throw malformed('The message is cut');
      this.end += 1;
      value += (byte & 0x7f) * weight;
      if (byte < 0x80) return value;
    }
    throw malformed('The message has a number without end');
  }
}

const malformed = (message: string, cause?: unknown): DaypassError =>
  new DaypassError('snapshot_malformed', message, cause === undefined ? {} : { cause });

const tooLarge = (message: string): DaypassError => new DaypassError('snapshot_too_large', message);
