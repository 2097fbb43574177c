// Opens sealed credentials at their first use, and keeps them (and what could not be opened) for the next.
import { DaypassError } from '@daypass/core/errors';
import type { CryptoKey } from '@daypass/core/key';
import { type OpenedSeal, openSeal } from '@daypass/core/seal';
import { BoundedCache } from './bounded-cache.ts';
import type { DataLimits } from './limits.ts';

/** Opened seals by their ciphertext. */
export type Seals = {
  /** Opens a seal, or throws the same error as the first time. */
  open(jwe: string): Promise<OpenedSeal>;
};

/** Returns an empty store over the pool's private keys. */
export function createSeals(keys: ReadonlyMap<string, CryptoKey>, limits: DataLimits): Seals {
  const known = new BoundedCache<OpenedSeal | DaypassError>({
    entries: limits.sealCacheEntries,
    chars: limits.sealCacheChars,
  });
  const opening = new Map<string, Promise<OpenedSeal | DaypassError>>();
  const openOnce = (jwe: string): Promise<OpenedSeal | DaypassError> => {
    const running = opening.get(jwe);
    if (running !== undefined) return running;
    if (opening.size >= limits.maxVerifying)
      throw new DaypassError('overloaded', 'Too many credentials are being opened');
    const result = openSeal(jwe, keys)
      .catch(asRefusal)
      .then((seal) => {
        known.set(jwe, seal);
        return seal;
      })
      .finally(() => opening.delete(jwe));
    opening.set(jwe, result);
    return result;
  };
  return {
    async open(jwe) {
      const seal = known.get(jwe) ?? (await openOnce(jwe));
      if (seal instanceof DaypassError) throw new DaypassError(seal.code, seal.message, { cause: seal.cause });
      return seal;
    },
  };
}

// Whoever shows a seal learns no more of why it does not open than that; the log is told.
const asRefusal = (cause: unknown): DaypassError =>
  new DaypassError('seal_malformed', 'The sealed credential cannot be read', { cause });
