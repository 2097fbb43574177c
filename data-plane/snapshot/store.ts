// The last known good snapshot on disk, and apart from it the highest version that was ever active here.
import { mkdir, readFile, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { DaypassError } from '@daypass/core/errors';
import { isHexSha256 } from '@daypass/core/hash';
import { parseStrictJson, readCount, readObject, readString, refuseUnknown } from '@daypass/core/json';
import type { Snapshot } from '@daypass/sdk/gen/daypass/v1/snapshot_pb';
import { writeFileAtomically } from '../atomic-file.ts';
import { decodeFile, encodeFile, SNAPSHOT_BYTES_MAX } from './signed.ts';

/** A version and the digest (hex sha256) of its manifest. */
export type Floor = { readonly version: number; readonly digest: string };

export type SnapshotStore = {
  /** The file that holds the snapshot, for the log. */
  readonly path: string;
  /** The highest version that was ever active; nothing below it is served again. */
  floor(): Floor | undefined;
  /** The snapshot as it lies there, to be verified in full; undefined when there is none. Throws `snapshot_malformed`. */
  load(): Promise<Snapshot | undefined>;
  /** Replaces the snapshot, then raises the floor; durable when it returns. */
  save(snapshot: Snapshot, version: Floor): Promise<void>;
  /** Moves a file that was refused out of the way, for people to look at. Returns its new path. */
  setAside(): Promise<string>;
};

/** Opens the folder, making it if need be. Throws `config_invalid` when the floor cannot be read. */
export async function openSnapshotStore(folder: string): Promise<SnapshotStore> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, 'last-known-good.bin');
  const floorPath = join(folder, 'floor.json');
  let floor = await readFloor(floorPath);
  return {
    path,
    floor: () => floor,
    async load() {
      const size = await sizeOf(path);
      if (size === undefined) return undefined;
      if (size > SNAPSHOT_BYTES_MAX) throw new DaypassError('snapshot_malformed', 'The file is too large');
      return decodeFile(await readFile(path));
    },
    async save(snapshot, version) {
      await writeFileAtomically(path, encodeFile(snapshot));
      if (floor !== undefined && version.version <= floor.version) return;
      await writeFileAtomically(floorPath, Buffer.from(`${JSON.stringify({ v: 1, ...version })}\n`));
      floor = version;
    },
    async setAside() {
      const aside = join(folder, 'refused.bin');
      await rename(path, aside);
      return aside;
    },
  };
}

async function readFloor(path: string): Promise<Floor | undefined> {
  if ((await sizeOf(path)) === undefined) return undefined;
  try {
    const object = readObject(parseStrictJson(await readFile(path, 'utf8')), 'floor');
    refuseUnknown(object, ['v', 'version', 'digest'], 'floor');
    const floor = { version: readCount(object.version, 'version'), digest: readString(object.digest, 'digest') };
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
