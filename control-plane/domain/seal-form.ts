// Checks of a sealed credential that need no key: its form and whom it is sealed to.
import { DaypassError } from '@daypass/core/errors';
import { readSealKid } from '@daypass/core/seal';

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
