// Checks of a sealed credential that need no key: its form and whom it is sealed to.
import { DaypassError } from '@daypass/core/errors';
import { readSealKid } from '@daypass/core/seal';
import type { Aggregates } from '../store/interface.ts';

/**
 * Checks that a text has the form of a sealed credential, sealed to one of the given keys. What it says inside only a
 * data plane can read.
 * @throws {DaypassError} `invalid_argument` or `seal_malformed`
 */
export const checkSealForm = (sealed: string, kids: ReadonlySet<string>, bytesMax: number): void => {
  if (sealed.length > bytesMax) throw wrong(`takes ${sealed.length} bytes of at most ${bytesMax}`);
  if (!kids.has(readKid(sealed, bytesMax))) {
    throw wrong('is sealed to a key that the pool does not have; get its sealing keys again');
  }
};

/**
 * Refuses a seal to a key that is retired in this transaction, of whose retirement by another control plane nothing may
 * have been heard here yet: its private half may be gone before the next request.
 * @throws {DaypassError} `invalid_argument`
 */
export const checkSealKey = async (
  tx: Pick<Aggregates, 'keys'>,
  sealed: string | undefined,
  field: string,
): Promise<void> => {
  if (sealed === undefined) return;
  const kid = readSealKid(sealed);
  if (!(await tx.keys.all()).some((row) => row.use === 'seal' && row.kid === kid)) return;
  throw new DaypassError('invalid_argument', 'is sealed to a key that is retired; get the sealing keys again', {
    field,
  });
};

const readKid = (sealed: string, bytesMax: number): string => {
  try {
    return readSealKid(sealed, bytesMax);
  } catch (cause) {
    throw new DaypassError('invalid_argument', 'is not a sealed credential: a compact JWE in the form of Daypass', {
      cause,
    });
  }
};

const wrong = (message: string): DaypassError => new DaypassError('invalid_argument', message);
