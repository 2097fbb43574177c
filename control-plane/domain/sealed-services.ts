// Which services hold a credential that is sealed to which key.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { readSealKid } from '@daypass/core/seal';
import type { Aggregates } from '../store/interface.ts';

const PAGE = 2000;

/** Services that hold a sealed credential, by the key that it is sealed to, in name order. */
export const servicesBySeal = async (
  read: Pick<Aggregates, 'services'>,
  pool: string,
): Promise<ReadonlyMap<string, readonly string[]>> => {
  const byKid = new Map<string, string[]>();
  let after: string | undefined;
  for (;;) {
    const rows = await read.services.sealed(pool, { after, limit: PAGE });
    for (const { name, sealedCredential } of rows) {
      const kid = readSealKid(sealedCredential);
      const names = byKid.get(kid);
      if (names === undefined) byKid.set(kid, [name]);
      else names.push(name);
    }
    after = rows.at(-1)?.name;
    if (rows.length < PAGE) return byKid;
    await nextTurn();
  }
};
