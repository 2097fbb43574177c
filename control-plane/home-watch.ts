// Reads the home again when files of it have changed. One that got bad is reported, and what was read before stays.
import { readdir, stat } from 'node:fs/promises';
import { DaypassError } from '@daypass/core/errors';
import { controlPaths } from '@daypass/core/home';
import type { ControlHome } from './home.ts';
import type { Log } from './log.ts';
import { type Repeating, repeating } from './repeating.ts';

type Deps = {
  readonly path: string;
  readonly first: ControlHome;
  readonly read: () => Promise<ControlHome>;
  /** Takes a home that was read again; it is asked once more when it rejects. */
  readonly take: (home: ControlHome) => Promise<void>;
  readonly log: Log;
  readonly everyMs?: number;
};

const EVERY_MS = 2000;

/** Begins to watch; `now` looks at once. */
export const watchHome = async ({ everyMs = EVERY_MS, ...deps }: Deps): Promise<Repeating> => {
  let taken = await stampOf(deps.path);
  let said = '';
  const look = async (): Promise<void> => {
    const stamp = await stampOf(deps.path);
    if (stamp === taken) return;
    const home = await deps.read();
    checkSame(deps.first, home);
    await deps.take(home);
    taken = stamp;
    said = '';
    deps.log.info('the keys of the home were read again', { home: deps.path });
  };
  return repeating(everyMs, look, (error) => {
    const why = error instanceof Error ? error.message : 'unknown';
    if (why !== said) deps.log.error('the home has changed and cannot be used; the keys of before stay', { error });
    said = why;
  });
};

/** Another fleet, root or set of pools is another control plane. */
const checkSame = (first: ControlHome, { fleet, root, snapshotSigners }: ControlHome): void => {
  const lost = [...first.snapshotSigners.keys()].find((pool) => !snapshotSigners.has(pool));
  if (fleet === first.fleet && root.x === first.root.x && lost === undefined) return;
  const what = lost === undefined ? 'is of another fleet or root' : `has no snapshot key for the pool "${lost}"`;
  throw new DaypassError('config_invalid', `The home ${what}; start the control plane anew`, { field: 'DAYPASS_HOME' });
};

/** Tells one state of the files from another. */
const stampOf = async (home: string): Promise<string> => {
  const paths = controlPaths(home);
  const folders = [paths.tokenKeys, paths.snapshotKeys];
  const inFolders = await Promise.all(
    folders.map(async (folder) => (await readdir(folder).catch(() => [])).sort().map((name) => `${folder}/${name}`)),
  );
  const files = [paths.fleet, paths.tokenKey, paths.snapshotKey, paths.snapshotKeyStatement, paths.sealingKeys];
  return (await Promise.all([...files, ...inFolders.flat()].map(stampOfFile))).join('\n');
};

const stampOfFile = async (path: string): Promise<string> => {
  const found = await stat(path).catch(() => undefined);
  return `${path} ${found?.mtimeMs} ${found?.size} ${found?.ino}`;
};
