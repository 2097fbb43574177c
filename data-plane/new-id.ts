// Ids for decisions and assertions: random, and drawn many at a time, since every request takes one.
import { randomFillSync } from 'node:crypto';

const ID_BYTES = 16;
const IDS_DRAWN = 256;

/** Returns a maker of ids: 128 random bits each, as base64url. */
export function createNewId(): () => string {
  const drawn = Buffer.alloc(ID_BYTES * IDS_DRAWN);
  let at = drawn.length;
  return () => {
    if (at === drawn.length) {
      randomFillSync(drawn);
      at = 0;
    }
    at += ID_BYTES;
    return drawn.toString('base64url', at - ID_BYTES, at);
  };
}
