// KeyService: public keys, for anyone.
import type { ServiceImpl } from '@connectrpc/connect';
import type { Keys } from '../domain/keys.ts';
import type { KeyService } from '../gen/daypass/v1/key_pb.ts';

/** The handlers. */
export const keyService = (keys: Keys): ServiceImpl<typeof KeyService> => ({
  getVerificationKeys: () => ({ jwks: keys.jwks() }),
  getSealingKeys: ({ pool }) => {
    const found = keys.sealing(pool);
    const signed = found.keys.map(({ statement, signature }) => ({ statement, signature }));
    return { fleet: found.fleet, root: found.root, keys: signed };
  },
});
