// The keys that verify tokens, as the database has them now: a key that another replica retired verifies nothing here.
import { importVerificationKey, type VerificationKey } from '@daypass/core/token';
import type { Aggregates, KeyRow } from '../store/interface.ts';
import { keyEntry, livingKeys } from './key-states.ts';
import { shareAsked } from './share-asked.ts';

/** Verification keys by `kid`. */
export type Keyring = () => Promise<ReadonlyMap<string, VerificationKey>>;

/** Makes a keyring; each key is imported once. */
export const createKeyring = (read: Pick<Aggregates, 'keys'>): Keyring => {
  let imported = new Map<string, VerificationKey>();
  const keyOf = async (row: KeyRow): Promise<readonly [string, VerificationKey]> => {
    const known = imported.get(row.kid);
    return [row.kid, known?.issuer === row.issuer ? known : await importVerificationKey(keyEntry(row))];
  };
  const ask = shareAsked(async () => {
    imported = new Map(await Promise.all(livingKeys(await read.keys.all()).map(keyOf)));
    return imported;
  });
  return () => ask('');
};
