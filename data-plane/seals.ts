// Opens sealed credentials at their first use, and keeps them (and what could not be opened) for the next.
import { DaypassError } from '@daypass/core/errors';
import type { CryptoKey } from '@daypass/core/key';
import { type OpenedSeal, openSeal } from '@daypass/core/seal';
import { BoundedCache } from './bounded-cache.ts';
import { type Injection, prepareInjection } from './injection.ts';
import type { DataLimits } from './limits.ts';

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

/** Returns an empty store over the pool's private keys. */
export function createSeals(keys: ReadonlyMap<string, CryptoKey>, limits: DataLimits): Seals {
  const known = new BoundedCache<Opened | DaypassError>({
    entries: limits.sealCacheEntries,
    chars: limits.sealCacheChars,
  });
  const opening = new Map<string, Promise<Opened | DaypassError>>();
  const openOnce = (jwe: string): Promise<Opened | DaypassError> => {
    const running = opening.get(jwe);
    if (running !== undefined) return running;
    if (opening.size >= limits.maxVerifying)
      throw new DaypassError('overloaded', 'Too many credentials are being opened');
    const result = openSeal(jwe, keys)
      .then(asOpened, asRefusal)
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
      const opened = known.get(jwe) ?? (await openOnce(jwe));
      if (opened instanceof DaypassError) throw new DaypassError(opened.code, opened.message, { cause: opened.cause });
      return opened;
    },
  };
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
const asRefusal = (cause: unknown): DaypassError =>
  new DaypassError('seal_malformed', 'The sealed credential cannot be read', { cause });
