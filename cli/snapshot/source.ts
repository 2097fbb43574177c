// A snapshot to look at: a file as a node keeps it, or a version that the control plane has.
import { create, fromBinary } from '@bufbuild/protobuf';
import { DaypassError } from '@daypass/core/errors';
import { MAX_ENTRY_BYTES, type SignedSnapshot } from '@daypass/core/snapshot';
import { type Snapshot, SnapshotSchema } from '@daypass/sdk/gen/daypass/v1/snapshot_pb';
import { type Connection, openConnection } from '../connection.ts';
import { UsageError } from '../failure.ts';
import type { Io } from '../io.ts';
import { readBytes } from '../rules-argument.ts';
import type { GlobalOptions } from '../settings.ts';

/** Which control plane and pool versions are of. */
export type SourceOptions = GlobalOptions & { readonly pool?: string };

/** Beside the entries' bytes: what frames each of them. */
const FRAMES_BYTES = 64 * 1024 * 1024;

/** A version, where the text is a number, else a file. Nothing of it is verified. @throws UsageError naming `field` */
export const snapshotFrom = async (text: string, field: string, options: SourceOptions, io: Io): Promise<Snapshot> =>
  /^\d{1,15}$/.test(text)
    ? fetchSnapshot(await openConnection(options, io), Number(text), options.pool)
    : readSnapshotFile(text, field);

/** A snapshot as it lies in a file. @throws UsageError naming `field`; DaypassError `snapshot_malformed` */
export const readSnapshotFile = async (file: string, field: string): Promise<Snapshot> => {
  const bytes = await readBytes(file, field, MAX_ENTRY_BYTES + FRAMES_BYTES);
  try {
    return fromBinary(SnapshotSchema, bytes);
  } catch (cause) {
    throw new DaypassError('snapshot_malformed', `${file} is not a whole snapshot`, { cause });
  }
};

/** A version of a pool, 0 for the newest, joined from its parts. */
export const fetchSnapshot = async (
  connection: Connection,
  version: number,
  pool: string | undefined,
): Promise<Snapshot> => {
  const whole = create(SnapshotSchema);
  const parts = connection.releases.getSnapshot({ pool: pool ?? '', version: BigInt(version) }, { timeoutMs: 0 });
  for await (const { snapshot } of parts) {
    if (snapshot === undefined) continue;
    if (snapshot.key !== undefined) Object.assign(whole, { ...snapshot, entries: whole.entries });
    for (const entry of snapshot.entries) whole.entries.push(entry);
  }
  return whole;
};

/** What `--at` says. @throws UsageError */
export const versionFlag = (text: string | undefined): number => {
  if (text === undefined) return 0;
  if (/^[1-9]\d{0,14}$/.test(text)) return Number(text);
  throw new UsageError(`--at takes the number of a version, not "${text}"`, '--at');
};

/** What there is to verify of a snapshot. @throws DaypassError `snapshot_malformed` */
export const signedOf = ({ manifest, signature, key, entries }: Snapshot): SignedSnapshot => {
  if (key === undefined) throw new DaypassError('snapshot_malformed', 'the snapshot has no key');
  return { manifest, signature, key, entries };
};
