// Lists every key with its state: who signs, who only verifies or opens, who is retired, and who still needs it.
import type { Aggregates, KeyRow } from '../store/interface.ts';
import { signingKeys } from './key-states.ts';
import type { SealingKey, SealingKeys } from './keys.ts';
import type { SnapshotSigners } from './publisher.ts';
import { servicesBySeal } from './sealed-services.ts';

/** `current`: what new signatures and seals are made with. `former`: what was made with it is still good. */
export type KeyState = 'waiting' | 'current' | 'former' | 'retired';

/** A key; times in milliseconds, 0: none. */
export type ListedKey = {
  readonly kid: string;
  readonly use: 'token' | 'snapshot' | 'seal';
  /** Empty for a token key: it is the fleet's. */
  readonly pool: string;
  readonly state: KeyState;
  /** Whether this control plane holds its private half. */
  readonly isHeld: boolean;
  readonly generation: number;
  readonly createdAt: number;
  readonly activatedAt: number;
  readonly retiredAt: number;
  /** No token that it signed ends after this. */
  readonly lastExpiresAt: number;
  /** The end that the root gave it. */
  readonly notAfter: number;
  /** Services whose credential is sealed to it. */
  readonly services: number;
  /** Tokens that have not ended and carry a credential sealed to it. */
  readonly tokens: number;
};

type Deps = {
  readonly read: Pick<Aggregates, 'keys' | 'services' | 'tokens'>;
  readonly held: () => readonly { readonly kid: string }[];
  readonly snapshotSigners: () => SnapshotSigners;
  readonly sealingKeys: () => SealingKeys;
  /** Milliseconds. */
  readonly now: () => number;
};

const NOTHING = { pool: '', generation: 0, isHeld: false, notAfter: 0, services: 0, tokens: 0 };
const NEVER = { createdAt: 0, activatedAt: 0, retiredAt: 0, lastExpiresAt: 0 };

/** Makes the list: token keys, then those of each pool. */
export const createKeyList = (deps: Deps) => async (): Promise<readonly ListedKey[]> => {
  const rows = await deps.read.keys.all();
  const held = new Set(deps.held().map(({ kid }) => kid));
  const current = signingKeys(rows)[0]?.kid;
  const tokenKeys = rows.filter(({ use }) => use === 'token').map((row) => tokenKey(row, current, held));
  const signers = [...deps.snapshotSigners()].map(
    ([pool, { kid, generation, notAfter }]): ListedKey => ({
      ...{ ...NOTHING, ...NEVER, kid, pool, generation, notAfter: notAfter * 1000 },
      ...{ use: 'snapshot', state: 'current', isHeld: true },
    }),
  );
  const sealing: ListedKey[] = [];
  for (const [pool, keys] of deps.sealingKeys()) sealing.push(...(await sealingOf(deps, pool, keys, rows)));
  return [...tokenKeys, ...signers, ...sealing];
};

const tokenKey = (row: KeyRow, current: string | undefined, held: ReadonlySet<string>): ListedKey => ({
  ...NOTHING,
  ...{ kid: row.kid, use: 'token', state: stateOf(row, current), isHeld: held.has(row.kid) },
  ...{ createdAt: row.createdAt, activatedAt: row.activatedAt ?? 0, retiredAt: row.retiredAt ?? 0 },
  lastExpiresAt: row.lastExpiresAt,
});

const stateOf = (row: KeyRow, current: string | undefined): KeyState => {
  if (row.retiredAt !== undefined) return 'retired';
  if (row.activatedAt === undefined) return 'waiting';
  return row.kid === current ? 'current' : 'former';
};

const sealingOf = async (
  { read, now }: Deps,
  pool: string,
  keys: readonly SealingKey[],
  rows: readonly KeyRow[],
): Promise<readonly ListedKey[]> => {
  const services = await servicesBySeal(read, pool);
  const listed: ListedKey[] = [];
  let hasCurrent = false;
  for (const { verified } of keys) {
    const { kid, not_after } = verified;
    const retired = rows.find((row) => row.kid === kid && row.use === 'seal');
    const isGood = retired === undefined && now() < not_after * 1000;
    const state: KeyState = retired !== undefined ? 'retired' : isGood && !hasCurrent ? 'current' : 'former';
    hasCurrent ||= state === 'current';
    listed.push({
      ...{ ...NOTHING, ...NEVER, kid, pool, use: 'seal', state, notAfter: not_after * 1000 },
      ...{ retiredAt: retired?.retiredAt ?? 0, services: services.get(kid)?.length ?? 0 },
      tokens: await read.tokens.aliveWithSeal(kid, now()),
    });
  }
  return listed;
};
