// The life of a token key: held here, made public, known to every node, signing, its last token ended, retired.
import { DaypassError } from '@daypass/core/errors';
import type { Aggregates, KeyRow, Store } from '../store/interface.ts';
import type { Changes, Note, Work } from './change.ts';
import { activationTime, endedKeys, livingKeys, waitingKeys } from './key-states.ts';
import type { Publisher } from './publisher.ts';
import { LONGEST_WAIT_MS, type Rollouts } from './rollout.ts';
import type { TokenKey, TokenSigners } from './token-signers.ts';

/** Keeps token keys moving. */
export type TokenKeys = {
  /**
   * Takes the private halves of a home; before any snapshot is published. In a database without keys the first of them
   * signs at once: there is no other that nodes know.
   */
  begin(keys: readonly TokenKey[]): Promise<void>;
  /** Takes the private halves of a home that was read again, and publishes the public halves that are new. */
  hold(keys: readonly TokenKey[]): Promise<void>;
  /** Takes every step that is due; waits at most 5 s for nodes. */
  advance(signal: AbortSignal): Promise<void>;
};

type Deps = {
  readonly store: Pick<Store, 'read' | 'transact'>;
  readonly changes: Pick<Changes, 'own'>;
  readonly rollouts: Pick<Rollouts, 'wait'>;
  readonly publisher: Pick<Publisher, 'pools'>;
  readonly signers: TokenSigners;
  readonly issuer: string;
  /** Milliseconds. */
  readonly now: () => number;
  /** Tells the operator of a step. */
  readonly tell: (message: string, kid: string) => void;
};

/** Keys that verify at a time. */
export const TOKEN_KEYS_MAX = 32;

/** Makes the keeper; it holds none yet. */
export const createTokenKeys = (deps: Deps): TokenKeys => {
  const { store, changes, signers, now, tell } = deps;
  return {
    begin: async (keys) => {
      signers.hold(keys);
      await store.transact(async (tx) => {
        const rows = await tx.keys.all();
        const own = new Set(keys.map(({ kid }) => kid));
        // The operator gave the control plane another name: it is the issuer of its keys.
        for (const row of livingKeys(rows))
          if (own.has(row.kid) && row.issuer !== deps.issuer) await tx.keys.put({ ...row, issuer: deps.issuer });
        if (livingKeys(rows).length > 0) return;
        const lastExpiresAt = await tx.tokens.lastExpiry();
        const [first] = await announce(tx, rows, deps);
        if (first !== undefined) await tx.keys.put({ ...first, activatedAt: now(), lastExpiresAt });
      });
    },
    hold: async (keys) => {
      signers.hold(keys);
      const rows = await store.read.keys.all();
      for (const { kid } of keys)
        if (rows.some((row) => row.kid === kid && row.retiredAt !== undefined))
          tell('a token key of the home is retired: its file is of no use any more', kid);
      if (keys.every(({ kid }) => rows.some((row) => row.kid === kid))) return;
      await changes.own('KeyService/Announce', async (tx) => {
        const fresh = await announce(tx, await tx.keys.all(), deps);
        for (const { kid } of fresh) tell('a token key is made public, and signs once every data plane knows it', kid);
        return stepOf(fresh, deps.publisher.pools());
      });
    },
    advance: async (signal) => {
      const rows = await store.read.keys.all();
      if (waitingKeys(rows).length > 0 && (await isKnownToNodes(deps, signal))) await activate(deps, waitingKeys(rows));
      if (endedKeys(rows, now()).length > 0) await retireEnded(deps);
    },
  };
};

/** Puts the keys that are held and not known yet into the database. Throws `failed_precondition` for too many. */
const announce = async (
  tx: Aggregates,
  known: readonly KeyRow[],
  { signers, issuer, now }: Deps,
): Promise<readonly KeyRow[]> => {
  const fresh = signers.held().filter(({ kid }) => !known.some((row) => row.kid === kid));
  if (livingKeys(known).length + fresh.length > TOKEN_KEYS_MAX)
    throw new DaypassError('failed_precondition', `There are more than ${TOKEN_KEYS_MAX} token keys: retire some`);
  const rows = fresh.map(({ kid, publicJwk: { kty, crv, x } }): KeyRow => {
    const dates = { createdAt: now(), activatedAt: undefined, retiredAt: undefined, lastExpiresAt: 0 };
    return { kid, use: 'token', jwk: { kty, crv, x }, alg: 'Ed25519', issuer, ...dates };
  });
  for (const row of rows) await tx.keys.put(row);
  return rows;
};

/**
 * Whether every node with a running lease has a snapshot that holds all keys that were in the database before this was
 * asked: each was published in the transaction that put it there.
 */
const isKnownToNodes = async ({ store, publisher, rollouts }: Deps, signal: AbortSignal): Promise<boolean> => {
  const latest = await Promise.all(publisher.pools().map((pool) => store.read.snapshots.latestForAll(pool)));
  const published = latest.filter((row) => row !== undefined);
  const { missing } = await rollouts.wait(published, LONGEST_WAIT_MS, signal);
  return missing.length === 0 && !signal.aborted;
};

const activate = async ({ changes, now, tell }: Deps, known: readonly KeyRow[]): Promise<void> => {
  await changes.own('KeyService/Activate', async (tx) => {
    const kids = new Set(known.map(({ kid }) => kid));
    const due = waitingKeys(await tx.keys.all()).filter(({ kid }) => kids.has(kid));
    for (const row of due) {
      await tx.keys.put({ ...row, activatedAt: activationTime(await tx.keys.all(), now()) });
      tell('a token key signs from now on', row.kid);
    }
    return stepOf(due, []);
  });
};

const retireEnded = async ({ changes, publisher, now, tell }: Deps): Promise<void> => {
  await changes.own('KeyService/Retire', async (tx) => {
    const ended = endedKeys(await tx.keys.all(), now());
    for (const row of ended) {
      await tx.keys.put({ ...row, retiredAt: now() });
      tell('a token key is retired: the last token that it signed has ended', row.kid);
    }
    return stepOf(ended, publisher.pools());
  });
};

/** A step of some keys, an audit row each. */
const stepOf = (rows: readonly KeyRow[], pools: readonly string[]): Work<void> | undefined => {
  const [note, ...more] = rows.map(({ kid }): Note => ({ path: `keys/${kid}` }));
  return note === undefined ? undefined : { value: undefined, pools, note, more };
};
