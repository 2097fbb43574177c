// What a bench puts up and takes down again: a folder, processes and fleets.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Fleet } from '../kit/planes.ts';
import type { Running } from '../kit/process.ts';

/** Where files go; whatever is added to the lists is ended by `end`, which removes the folder too. */
export type Props = {
  readonly folder: string;
  readonly started: Running[];
  readonly fleets: Fleet[];
  end(): Promise<void>;
};

/** Puts up what `set` says; if that fails, everything is taken down. */
export async function withProps<T>(set: (props: Props) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'daypass-bench-'));
  const started: Running[] = [];
  const fleets: Fleet[] = [];
  const end = async () => {
    for (const one of started) one.kill('SIGTERM');
    await Promise.all([...started.map((one) => one.ended), ...fleets.map((fleet) => fleet.stop())]);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    return await set({ folder, started, fleets, end });
  } catch (error) {
    await end();
    throw error;
  }
}
