// The last known good snapshot on disk, with the deltas that led on from it, and apart from it the highest version ever active.
import { mkdir, open, readFile, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { DaypassError } from '@daypass/core/errors';
import { isHexSha256 } from '@daypass/core/hash';
import { parseStrictJson, readCount, readObject, readString, refuseUnknown } from '@daypass/core/json';
import { prepareFile, readInto, writeFileAtomically } from '../atomic-file.ts';
import { openJournal } from './journal.ts';
import { SNAPSHOT_BYTES_MAX } from './message.ts';

/** A version and the digest (hex sha256) of its manifest. */
export type Floor = {
  readonly version: number;
  readonly digest: string;
  /** Of the key that signed it, within which versions rise; absent: 0. */
  readonly generation?: number;
};

/** Whether one comes after another: of a later generation, or of a higher version in the same one. */
export const isAbove = (a: Floor, b: Floor): boolean => {
  const [generation, before] = [a.generation ?? 0, b.generation ?? 0];
  return generation > before || (generation === before && a.version > b.version);
};

/** What lies on disk, to be verified in full: a `Snapshot` message, and `SnapshotDelta` messages, in shared memory. */
export type Stored = { readonly base: Buffer; readonly deltas: readonly Buffer[] };

export type SnapshotStore = {
  /** The file that holds the snapshot, for the log. */
  readonly path: string;
  /** The highest version that was ever active, of the latest generation; nothing below it is served again. */
  floor(): Floor | undefined;
  /** What lay there when it was opened, once; undefined when there is nothing. Throws `snapshot_malformed`. */
  load(): Promise<Stored | undefined>;
  /** Replaces all by a snapshot, then raises the floor; durable when it returns. */
  save(base: Uint8Array, version: Floor): Promise<void>;
  /** Adds a delta to what was saved last, then raises the floor; durable when it returns. Throws after a failure, too. */
  append(delta: Uint8Array, version: Floor): Promise<void>;
  /**
   * Replaces all by a snapshot of the version that was saved last, while more may be appended: that stays. Until it is
   * done, and if it fails, what lies there is good as it is. While one is under way another does nothing.
   */
  rewrite(base: Uint8Array): Promise<void>;
  /** Whether a write has failed: only a whole snapshot can be saved. */
  isBroken(): boolean;
  /** Moves files that were refused out of the way, for people to look at. Returns the new path of the snapshot. */
  setAside(): Promise<string>;
};

/** Opens the folder, making it if need be. Throws `config_invalid` when the floor cannot be read. */
export async function openSnapshotStore(folder: string): Promise<SnapshotStore> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, 'last-known-good.bin');
  const floorPath = join(folder, 'floor.json');
  let floor = await readFloor(floorPath);
  const journalPath = join(folder, 'journal.bin');
  const opened = await openJournal(journalPath, SNAPSHOT_BYTES_MAX);
  const { journal } = opened;
  /** Until they are loaded: they are as large as the file. */
  let { records } = opened;
  let isBroken = false;
  let bases = 0;
  let isRewriting = false;
  /** Those appended since a rewrite began. */
  let since: Uint8Array[] | undefined;
  let turn: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const done = turn.then(work);
    turn = done.catch(() => {
      isBroken = true;
    });
    return done;
  };
  const raise = async (version: Floor): Promise<void> => {
    if (floor !== undefined && !isAbove(version, floor)) return;
    await writeFileAtomically(floorPath, Buffer.from(floorText(version)));
    floor = version;
  };
  return {
    path,
    floor: () => floor,
    async load() {
      const size = await sizeOf(path);
      if (size === undefined) return undefined;
      if (size > SNAPSHOT_BYTES_MAX) throw new DaypassError('snapshot_malformed', 'The file is too large');
      await using file = await open(path, 'r');
      const stored = { base: await readInto(file, size), deltas: records };
      records = [];
      return stored;
    },
    save: (base, version) =>
      inTurn(async () => {
        bases += 1;
        await writeFileAtomically(path, base);
        // What is left of it, should it end here, leads on from nothing that lies there.
        await journal.replace([]);
        await raise(version);
        isBroken = false;
      }),
    append: (delta, version) =>
      inTurn(async () => {
        // What a gap came before could not be taken up again, and the floor would be above all that can.
        if (isBroken) throw new Error('an earlier write has failed');
        await journal.append(delta);
        since?.push(delta);
        await raise(version);
      }),
    async rewrite(base) {
      // Two would write over each other in one file; what lies there is good without the second.
      if (isRewriting) return;
      isRewriting = true;
      try {
        const own = await inTurn(async () => {
          since = [];
          return bases;
        });
        const fresh = await prepareFile(path, `${path}.next`, base);
        await inTurn(async () => {
          if (own !== bases || isBroken) return;
          await fresh.putInPlace();
          await journal.replace(since ?? []);
        });
      } finally {
        since = undefined;
        isRewriting = false;
      }
    },
    isBroken: () => isBroken,
    async setAside() {
      const aside = join(folder, 'refused.bin');
      await rename(path, aside);
      await rename(journalPath, join(folder, 'refused-journal.bin'));
      await journal.replace([]);
      return aside;
    },
  };
}

/** The first generation is left out: software that knows of none reads the file, too. */
const floorText = ({ version, digest, generation = 0 }: Floor): string =>
  `${JSON.stringify({ v: 1, version, digest, ...(generation === 0 ? {} : { generation }) })}\n`;

async function readFloor(path: string): Promise<Floor | undefined> {
  if ((await sizeOf(path)) === undefined) return undefined;
  try {
    const object = readObject(parseStrictJson(await readFile(path, 'utf8')), 'floor');
    refuseUnknown(object, ['v', 'version', 'digest', 'generation'], 'floor');
    const floor = {
      version: readCount(object.version, 'version'),
      digest: readString(object.digest, 'digest'),
      generation: object.generation === undefined ? 0 : readCount(object.generation, 'generation'),
    };
    if (object.v !== 1 || !isHexSha256(floor.digest)) throw new DaypassError('invalid_json', 'It has a wrong value');
    return floor;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : '';
    throw new DaypassError('config_invalid', `${path}: ${why}`, { cause, field: 'floor.json' });
  }
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
    throw new DaypassError('config_invalid', `${path} cannot be read`, { cause, field: path });
  }
}
