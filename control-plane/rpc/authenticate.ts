// Lets a request in: who asks, and whether the policy lets them call this RPC, before its body is read.
import { type ConnectRouterOptions, createContextKey, type HandlerContext } from '@connectrpc/connect';
import { DaypassError } from '@daypass/core/errors';
import type { Actor, CallerActor, NodeActor } from '../domain/actor.ts';
import type { Identify } from '../domain/identity.ts';
import { createInFlight } from './in-flight.ts';
import { type Access, accessOf } from './policy.ts';

type Gate = NonNullable<ConnectRouterOptions['requestGate']>;

const ANYONE: Actor = { kind: 'anyone' };
const ACTOR = createContextKey<Actor>(ANYONE, { description: 'who asks' });

/** Calls that one credential may have under way; streams have bounds of their own. */
const CALLS_MAX = 32;
/** One call more waits this long for its turn. */
const TURN_MS_MAX = 1000;

/** Makes the gate that every RPC passes. Throws `unauthenticated`, `permission_denied` or `overloaded`. */
export const createGate = (identify: Identify): Gate => {
  const inFlight = createInFlight(CALLS_MAX, TURN_MS_MAX);
  return async (context) => {
    const access = accessOf(context.method);
    if (access === undefined) throw new DaypassError('permission_denied', 'This RPC is not served');
    // Not looked at where nobody needs one: a public key is handed out whatever was sent.
    if (access === 'anyone') return;
    const authorization = context.requestHeader.get('authorization');
    // Before the database is asked who it is: its queue is what is to be kept free.
    if (authorization !== null && context.method.methodKind === 'unary')
      await inFlight.enter(authorization, context.signal);
    const actor = await identify(authorization);
    checkAccess(access, actor);
    context.values.set(ACTOR, actor);
  };
};

const checkAccess = (access: Exclude<Access, 'anyone'>, actor: Actor): void => {
  if (actor.kind === 'anyone') {
    throw new DaypassError('unauthenticated', 'An API key is needed: `Authorization: Bearer dpk_…`');
  }
  switch (access) {
    case 'caller':
      if (actor.kind === 'caller') return;
      throw new DaypassError('permission_denied', 'This is for callers, not for nodes');
    case 'admin':
      if (actor.kind === 'caller' && actor.admin) return;
      throw new DaypassError('permission_denied', 'This is for admins only');
    case 'node':
      if (actor.kind === 'node') return;
      throw new DaypassError('permission_denied', 'This is for nodes only');
    default:
      access satisfies never;
      throw new DaypassError('permission_denied', 'This RPC is not served');
  }
};

/** The caller of an RPC that asks for one. */
export const callerOf = (context: Pick<HandlerContext, 'values'>): CallerActor => {
  const actor = context.values.get(ACTOR);
  if (actor.kind !== 'caller') throw new DaypassError('unauthenticated', 'An API key is needed');
  return actor;
};

/** The node of an RPC that asks for one. */
export const nodeOf = (context: Pick<HandlerContext, 'values'>): NodeActor => {
  const actor = context.values.get(ACTOR);
  if (actor.kind !== 'node') throw new DaypassError('unauthenticated', "A node's key is needed");
  return actor;
};
