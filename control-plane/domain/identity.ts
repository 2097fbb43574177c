// Finds out who asks: by the hash of an API key, or by a node's signed assertion.
import { isApiKey } from '@daypass/core/api-key';
import { DaypassError } from '@daypass/core/errors';
import { parseStrictJson } from '@daypass/core/json';
import { readPublicJwk } from '@daypass/core/key';
import { verifyNodeAssertion } from '@daypass/core/node-auth';
import type { Aggregates, CallerRow } from '../store/interface.ts';
import { type Actor, callerActor, type NodeActor } from './actor.ts';
import { sha256Hex } from './digest.ts';
import { createTaken } from './replay.ts';
import { shareAsked } from './share-asked.ts';

type Deps = {
  readonly read: Pick<Aggregates, 'callers' | 'nodes'>;
  readonly fleet: string;
  /** Names of the nodes that may connect now; the store knows those of the past, too. */
  readonly enrolled: ReadonlySet<string>;
  /** Milliseconds. */
  readonly now: () => number;
};

/** Finds the actor of an `Authorization` header. Throws `unauthenticated` for a credential that is no good. */
export type Identify = (authorization: string | null) => Promise<Actor>;

/** Makes the finder. */
export const createIdentify = (deps: Deps): Identify => {
  const taken = createTaken(deps.now);
  const byKeyHash = shareAsked(deps.read.callers.byKeyHash);
  return async (authorization) => {
    if (authorization === null || authorization === '') return { kind: 'anyone' };
    const [, credential] = /^bearer +([!-~]+)$/i.exec(authorization) ?? [];
    if (credential === undefined) throw refused('Authorization must be `Bearer` and an API key');
    if (isApiKey(credential)) return callerOf(await byKeyHash(sha256Hex(credential)));
    if (!credential.includes('.')) throw refused('This is not an API key');
    const node = await findNode(credential, deps);
    taken.take(node.name, credential);
    return node;
  };
};

const callerOf = (row: CallerRow | undefined): Actor => {
  if (row === undefined) throw refused('No caller has this API key');
  return callerActor(row);
};

const findNode = async (assertion: string, { read, fleet, enrolled, now }: Deps): Promise<NodeActor> => {
  const keyOf = async (name: string) => {
    const row = enrolled.has(name) ? await read.nodes.get(name) : undefined;
    return row === undefined ? undefined : readPublicJwk(parseStrictJson(row.jwk), 'Ed25519', 'jwk');
  };
  const name = await verifyNodeAssertion(assertion, { fleet, keyOf, now: now() / 1000 });
  const row = await read.nodes.get(name);
  if (row === undefined) throw refused('The node is not enrolled');
  return { kind: 'node', name, pool: row.pool };
};

const refused = (message: string): DaypassError => new DaypassError('unauthenticated', message);
