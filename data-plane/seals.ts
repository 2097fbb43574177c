// Opens sealed credentials at their first use, and keeps them (and what could not be opened) for the next.
import { DaypassError } from '@daypass/core/errors';
import { type OpenedSeal, openSeal } from '@daypass/core/seal';
import { BoundedCache } from './bounded-cache.ts';
import { type Injection, prepareInjection } from './injection.ts';
import type { DataLimits } from './limits.ts';
import type { KeysById, UnsealKeys } from './unseal-keys.ts';

/** A seal that was opened. */
export type Opened = {
  readonly seal: OpenedSeal;
  /** The credential ready to be put on, the same for all that use the seal. Throws `seal_malformed`. */
  readonly injection: () => Injection;
};

/** Opened seals by their ciphertext. */
export type Seals = {
  /** Opens a seal, or throws the same error as the first time. */
  open(jwe: string): Promise<Opened>;
};

/** A seal that does not open, with the keys that were tried: others may open it. */
type Refused = { readonly error: DaypassError; readonly keys: KeysById };

/** Returns an empty store over the pool's private keys. */
export function createSeals(keys: UnsealKeys, limits: DataLimits): Seals {
  const known = new BoundedCache<Opened | Refused>({
    entries: limits.sealCacheEntries,
    chars: limits.sealCacheChars,
  });
  const opening = new Map<string, Promise<Opened | Refused>>();
  const openOnce = (jwe: string): Promise<Opened | Refused> => {
    const running = opening.get(jwe);
    if (running !== undefined) return running;
    if (opening.size >= limits.maxVerifying)
      throw new DaypassError('overloaded', 'Too many credentials are being opened');
    const result = openNow(jwe, keys)
      .then((opened) => {
        known.set(jwe, opened);
        return opened;
      })
      .finally(() => opening.delete(jwe));
    opening.set(jwe, result);
    return result;
  };
  return {
    async open(jwe) {
      const before = known.get(jwe);
      const isStale = before !== undefined && 'error' in before && before.keys !== keys.current();
      const opened = before === undefined || isStale ? await openOnce(jwe) : before;
      if (!('error' in opened)) return opened;
      throw new DaypassError(opened.error.code, opened.error.message, { cause: opened.error.cause });
    },
  };
}

/** A key that came a moment ago may not be here yet: it is looked for once. */
async function openNow(jwe: string, keys: UnsealKeys): Promise<Opened | Refused> {
  const first = keys.current();
  try {
    return asOpened(await openSeal(jwe, first));
  } catch (error) {
    if (!(error instanceof DaypassError) || error.code !== 'seal_key_unknown') return refused(error, first);
  }
  await keys.lookAgain();
  const second = keys.current();
  return openSeal(jwe, second).then(asOpened, (error: unknown) => refused(error, second));
}

function asOpened(seal: OpenedSeal): Opened {
  let injection: Injection | undefined;
  return {
    seal,
    injection: () => {
      injection ??= prepareInjection(seal);
      return injection;
    },
  };
}

// Whoever shows a seal learns no more of why it does not open than that; the log is told.
const refused = (cause: unknown, keys: KeysById): Refused => ({
  error: new DaypassError('seal_malformed', 'The sealed credential cannot be read', { cause }),
  keys,
});
