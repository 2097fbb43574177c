// Watches the folder of sealing keys: one that comes is taken while the node serves; a folder that got bad changes nothing.
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { DaypassError } from '@daypass/core/errors';
import { createGroupSync } from './audit/group-sync.ts';
import { readSealing } from './home.ts';
import type { Log } from './log.ts';
import type { KeysById } from './unseal-keys.ts';

/** The watched folder. */
export type SealingFolder = Disposable & {
  current(): KeysById;
  /** Looks at once, or after the look that is under way. Never rejects. */
  look(): Promise<void>;
};

type Deps = {
  readonly folder: string;
  readonly first: KeysById;
  /** Called with the keys when they have changed. */
  readonly changed: (keys: KeysById) => void;
  readonly log: Log;
  readonly everyMs?: number;
};

const EVERY_MS = 2000;

/** Begins to watch. */
export function watchSealing({ folder, first, changed, log, everyMs = EVERY_MS }: Deps): SealingFolder {
  let keys = first;
  let taken: string | undefined;
  let said = '';
  const read = async (): Promise<void> => {
    const stamp = await stampOf(folder);
    if (stamp === taken) return;
    const fresh = await readSealing(folder, log);
    // It was emptied by mistake, or is not mounted: to open nothing any more is done by an end of the process.
    if (fresh.size === 0 && keys.size > 0) throw new DaypassError('config_invalid', `${folder} holds no keys any more`);
    taken = stamp;
    said = '';
    if (sameKids(keys, fresh)) return;
    log.info('the sealing keys have changed', { kids: [...fresh.keys()] });
    keys = fresh;
    changed(fresh);
  };
  const report = (error: unknown): void => {
    const why = error instanceof Error ? error.message : 'unknown';
    if (why !== said) log.error('the sealing keys cannot be read; those of before stay', { error });
    said = why;
  };
  // A look that was under way may have missed the key that is looked for.
  const look = createGroupSync(() => read().catch(report));
  const timer = setInterval(look, everyMs).unref();
  return { current: () => keys, look, [Symbol.dispose]: () => clearInterval(timer) };
}

/** A `kid` names one key. */
const sameKids = (a: KeysById, b: KeysById): boolean => a.size === b.size && [...a.keys()].every((kid) => b.has(kid));

/** Tells one state of the folder from another. */
async function stampOf(folder: string): Promise<string> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.jwk')).sort();
  const stamps = names.map(async (name) => {
    const { mtimeMs, size, ino } = await stat(join(folder, name));
    return `${name} ${mtimeMs} ${size} ${ino}`;
  });
  return (await Promise.all(stamps)).join('\n');
}
