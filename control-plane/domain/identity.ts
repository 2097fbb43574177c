// Finds out who asks: by the hash of an API key, or by a node's signed assertion.
import { isApiKey } from '@daypass/core/api-key';
import { DaypassError } from '@daypass/core/errors';
import { parseStrictJson } from '@daypass/core/json';
import { readPublicJwk } from '@daypass/core/key';
import { verifyNodeAssertion } from '@daypass/core/node-auth';
import type { CallerRow, NodeRow, Store } from '../store/interface.ts';
import { type Actor, callerActor, type NodeActor } from './actor.ts';
import { sha256Hex } from './digest.ts';
import { isEnrolled } from './node-row.ts';
import { createTaken } from './replay.ts';
import { shareAsked } from './share-asked.ts';

type Deps = {
  readonly store: Pick<Store, 'read' | 'takeOnce'>;
  readonly fleet: string;
  /** Milliseconds. */
  readonly now: () => number;
};

/** Finds the actor of an `Authorization` header. Throws `unauthenticated` for a credential that is no good. */
export type Identify = (authorization: string | null) => Promise<Actor>;

/** Makes the finder. */
export const createIdentify = (deps: Deps): Identify => {
  const taken = createTaken({ store: deps.store, now: deps.now });
  const byKeyHash = shareAsked(deps.store.read.callers.byKeyHash);
  const byName = shareAsked(deps.store.read.nodes.get);
  return async (authorization) => {
    if (authorization === null || authorization === '') return { kind: 'anyone' };
    const [, credential] = /^bearer +([!-~]+)$/i.exec(authorization) ?? [];
    if (credential === undefined) throw refused('Authorization must be `Bearer` and an API key');
    if (isApiKey(credential)) return callerOf(await byKeyHash(sha256Hex(credential)));
    if (!credential.includes('.')) throw refused('This is not an API key');
    const node = await findNode(credential, byName, deps);
    await taken.take(node.name, credential);
    return node;
  };
};

const callerOf = (row: CallerRow | undefined): Actor => {
  if (row === undefined) throw refused('No caller has this API key');
  return callerActor(row);
};

/** Asked of the database each time, so that an expulsion holds from its commit on, whichever control plane made it. */
const findNode = async (
  assertion: string,
  byName: (name: string) => Promise<NodeRow | undefined>,
  { fleet, now }: Deps,
): Promise<NodeActor> => {
  let pool: string | undefined;
  const keyOf = async (name: string) => {
    const row = await byName(name);
    if (!isEnrolled(row)) return undefined;
    pool = row.pool;
    return readPublicJwk(parseStrictJson(row.jwk), 'Ed25519', 'jwk');
  };
  const name = await verifyNodeAssertion(assertion, { fleet, keyOf, now: now() / 1000 });
  if (pool === undefined) throw refused('The node is not enrolled');
  return { kind: 'node', name, pool };
};

const refused = (message: string): DaypassError => new DaypassError('unauthenticated', message);
