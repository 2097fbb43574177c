// A snapshot between its three forms: message on the wire, file on disk, bytes to verify.
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { DaypassError } from '@daypass/core/errors';
import type { SignedSnapshot } from '@daypass/core/snapshot';
import { type Snapshot, SnapshotSchema } from '@daypass/sdk/gen/daypass/v1/snapshot_pb';

/** Largest snapshot that a node takes, in bytes. */
export const SNAPSHOT_BYTES_MAX = 64 * 1024 * 1024;

/** What there is to verify of a message. Throws `snapshot_malformed` when it has no key. */
export function signedOf(message: Snapshot): SignedSnapshot {
  const { manifest, signature, key, entries } = message;
  if (key === undefined) throw new DaypassError('snapshot_malformed', 'The snapshot has no key');
  return { manifest, signature, key, entries };
}

/** The bytes of a file that holds the snapshot. */
export const encodeFile = (message: Snapshot): Uint8Array => toBinary(SnapshotSchema, message);

/** Reads such a file; nothing in it is believed yet. Throws `snapshot_malformed`. */
export function decodeFile(bytes: Uint8Array): Snapshot {
  try {
    return fromBinary(SnapshotSchema, bytes);
  } catch (cause) {
    throw new DaypassError('snapshot_malformed', 'The file is not a whole snapshot', { cause });
  }
}
