// KeyService: public keys for anyone, and their states for admins.
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import type { KeyState as DomainState, ListedKey } from '../domain/key-list.ts';
import type { RetireKey } from '../domain/key-retire.ts';
import type { Keys } from '../domain/keys.ts';
import { type KeySchema, type KeyService, KeyState, KeyUse } from '../gen/daypass/v1/key_pb.ts';
import { callerOf } from './authenticate.ts';
import { toRollout, toTime, waitingOf } from './words.ts';

/** What the handlers call. */
export type KeysAdmin = { readonly list: () => Promise<readonly ListedKey[]>; readonly retire: RetireKey };

/** The handlers. */
export const keyService = (keys: Keys, admin: KeysAdmin): ServiceImpl<typeof KeyService> => ({
  getVerificationKeys: async () => ({ jwks: await keys.jwks() }),
  getSealingKeys: ({ pool }) => {
    const found = keys.sealing(pool);
    const signed = found.keys.map(({ statement, signature }) => ({ statement, signature }));
    return { fleet: found.fleet, root: found.root, keys: signed };
  },
  list: async () => ({ keys: (await admin.list()).map(toKey) }),
  retire: async ({ kid, force, wait }, context) => {
    const retired = await admin.retire(callerOf(context), { kid, force }, waitingOf(wait, context.signal));
    return { rollout: toRollout(retired.rollout), tokens: BigInt(retired.tokens) };
  },
});

const USES = { token: KeyUse.TOKEN, snapshot: KeyUse.SNAPSHOT, seal: KeyUse.SEAL } as const;
const STATES: Readonly<Record<DomainState, KeyState>> = {
  waiting: KeyState.WAITING,
  current: KeyState.CURRENT,
  former: KeyState.FORMER,
  retired: KeyState.RETIRED,
};

const toKey = (key: ListedKey): MessageInitShape<typeof KeySchema> => ({
  kid: key.kid,
  use: USES[key.use],
  pool: key.pool,
  state: STATES[key.state],
  held: key.isHeld,
  generation: BigInt(key.generation),
  createTime: timeOf(key.createdAt),
  activateTime: timeOf(key.activatedAt),
  retireTime: timeOf(key.retiredAt),
  lastExpireTime: timeOf(key.lastExpiresAt),
  notAfter: timeOf(key.notAfter),
  services: BigInt(key.services),
  tokens: BigInt(key.tokens),
});

const timeOf = (ms: number) => toTime(ms === 0 ? undefined : ms);
