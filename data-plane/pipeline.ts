// THE request: snapshot, route, authenticate, authorize, limit, inject, forward, record, each step proved to the next.
import { DaypassError } from '@daypass/core/errors';
import type { ActiveSnapshot } from './active.ts';
import type { AuditSink } from './audit/sink.ts';
import type { Authenticator, VerifiedToken } from './authenticate.ts';
import { type Authorizer, BODY_NEEDED, type Decided, type Grant } from './authorize.ts';
import type { Cancellation } from './cancellation.ts';
import type { Closing } from './closing.ts';
import { type Exchange, forward } from './forward.ts';
import type { BodyRoom, HeldBody } from './held-body.ts';
import { injectCredential } from './inject.ts';
import type { Limiter, Permit } from './limit.ts';
import type { DataLimits } from './limits.ts';
import type { Proof } from './proof.ts';
import { RequestRecord } from './record.ts';
import { nonceField } from './refusal.ts';
import { openBody, type RequestBody } from './request-body.ts';
import { type Route, routeRequest } from './route.ts';
import type { Running, RunningRequests } from './running.ts';
import type { Answer, Arrival, Arriving, Connection } from './transport/types.ts';
import type { Upstreams } from './upstreams.ts';
import { type Head, hasBody, readHead } from './wire.ts';

/** What the pipeline is made of. */
export type PipelineDeps = {
  readonly limits: DataLimits;
  readonly current: () => ActiveSnapshot | undefined;
  readonly audit: AuditSink;
  readonly authenticator: Authenticator;
  readonly authorizer: Authorizer;
  readonly bodyRoom: BodyRoom;
  readonly limiter: Limiter;
  readonly upstreams: Upstreams;
  readonly running: RunningRequests;
  readonly nowMs: () => number;
  readonly newId: () => string;
  readonly publicUrl: () => string;
  /** Adds `Server-Timing` with the decision id and the snapshot's version to every forwarded answer. */
  readonly serverTiming: boolean;
  readonly closing: Closing;
  /** Answers a request that was not forwarded, or failed. Never throws. */
  readonly refuse: (visit: Visit, error: unknown) => void;
  readonly onEnd: (visit: Visit) => void;
};

/** One request and what is known of it so far. */
export type Visit = {
  readonly request: Arriving;
  readonly response: Answer;
  readonly connection: Connection;
  readonly record: RequestRecord;
  readonly cancellation: Cancellation;
  head?: Head;
  route?: Route;
  permit?: Permit;
  body?: RequestBody;
  heldBody?: HeldBody;
  isDpop?: boolean;
  proof?: Proof;
  running?: Running;
};

/** Answers one request; never throws. */
export type Pipeline = (arrival: Arrival) => void;

/** Returns the pipeline. What is known already is decided at once: only a new token, a proof or a body takes turns. */
export function createPipeline(deps: PipelineDeps): Pipeline {
  return (arrival) => {
    const visit = receive(deps, arrival);
    try {
      visit.cancellation.check();
      const head = readHead(visit.request, deps.limits, visit.connection);
      visit.head = head;
      const decided = decideNow(deps, visit, head, undefined);
      if (decided instanceof Promise || decided === BODY_NEEDED || hasBody(head))
        void answerLater(deps, visit, head, decided);
      else send(deps, visit, head, admit(deps, visit, decided));
    } catch (error) {
      finish(deps, visit, error);
    }
  };
}

async function answerLater(
  deps: PipelineDeps,
  visit: Visit,
  head: Head,
  decided: Decided | Promise<Decided>,
): Promise<void> {
  const { record } = visit;
  try {
    let grant = await withBody(deps, visit, head, await decided);
    let permit = admit(deps, visit, grant);
    const body = grant.body === undefined ? await beginBody(visit, head, deps.limits) : undefined;
    if (body !== undefined) {
      visit.body = body;
      // A client may take its time over a body: what was granted before may have been revoked by now, or ended.
      grant = await decideAgain(deps, visit, head);
      permit = deps.limiter.renew(permit, grant);
      record.allow(grant.rule, grant.credentialId);
      if (body.stream.errored !== null) throw body.stream.errored;
    }
    send(deps, visit, head, permit);
  } catch (error) {
    finish(deps, visit, error);
  }
}

function admit({ limiter }: PipelineDeps, visit: Visit, grant: Grant): Permit {
  const permit = limiter.admit(grant);
  visit.permit = permit;
  visit.record.allow(grant.rule, grant.credentialId);
  return permit;
}

function send(deps: PipelineDeps, visit: Visit, head: Head, permit: Permit): void {
  const { grant } = permit;
  const { record, response, cancellation, body } = visit;
  const { limits, closing, upstreams, publicUrl } = deps;
  const outgoing = injectCredential(permit, head);
  const running: Running = { grant, cancellation, record, at: -1 };
  visit.running = running;
  deps.running.enter(running);
  const exchange: Exchange = {
    grant,
    outgoing,
    body,
    response,
    record,
    limits,
    publicUrl: publicUrl(),
    ownFields: ownFields(deps, visit, grant.route.snapshot),
    cancellation,
    closing,
    over: (error) => finish(deps, visit, error),
  };
  const go = (): void => {
    cancellation.check();
    // Not before: while the decision is made durable, a snapshot may replace the pool, which then takes no more.
    running.forwarded = forward(upstreams.poolOf(grant.route.snapshot, grant.service), exchange);
  };
  const durable = record.commit();
  if (durable === undefined) go();
  else durable.then(go).catch((error) => finish(deps, visit, error));
}

/** Ends a visit: what it took is given back, and an error is answered. */
function finish(deps: PipelineDeps, visit: Visit, error: unknown): void {
  if (visit.running !== undefined) deps.running.leave(visit.running);
  if (error !== undefined) deps.refuse(visit, error);
  visit.body?.release();
  visit.heldBody?.release();
  if (visit.permit !== undefined) deps.limiter.release(visit.permit);
  deps.onEnd(visit);
}

const NONE: readonly string[] = [];

function ownFields({ serverTiming }: PipelineDeps, { record, proof }: Visit, { version }: ActiveSnapshot) {
  if (!serverTiming && proof === undefined) return NONE;
  const timing = serverTiming ? ['server-timing', `daypass;desc="${record.id}", snapshot;desc="${version}"`] : NONE;
  return [...timing, ...nonceField(proof?.nextNonce)];
}

// A body that rules look into may take its time: with it everything is decided anew, under the snapshot and clock of then.
async function withBody(deps: PipelineDeps, visit: Visit, head: Head, before: Decided): Promise<Grant> {
  if (before !== BODY_NEEDED) return before;
  const body = await holdBody(deps, visit, head);
  const grant = await decideNow(deps, visit, head, body);
  if (grant === BODY_NEEDED) throw new Error('the body was asked for twice');
  return grant;
}

async function decideAgain(deps: PipelineDeps, visit: Visit, head: Head): Promise<Grant> {
  const grant = await decideNow(deps, visit, head, undefined);
  if (grant !== BODY_NEEDED) return grant;
  throw new DaypassError('scope_refused', 'Rules that look into the body came while it was on its way');
}

/** Decides by what is known now; a decision before it no longer counts. */
function decideNow(
  deps: PipelineDeps,
  visit: Visit,
  head: Head,
  body: HeldBody | undefined,
): Decided | Promise<Decided> {
  visit.record.withdraw();
  const route = routeRequest(activeSnapshot(deps), head);
  visit.route = route;
  const token = deps.authenticator.authenticate(route, head, visit);
  if (token instanceof Promise) return token.then((known) => decideFor(deps, visit, route, head, known, body));
  return decideFor(deps, visit, route, head, token, body);
}

function decideFor(
  deps: PipelineDeps,
  { record }: Visit,
  route: Route,
  head: Head,
  token: VerifiedToken | undefined,
  body: HeldBody | undefined,
): Decided | Promise<Decided> {
  beginRecord(deps, record, route, head, token);
  return deps.authorizer.authorize(route, token, head, body);
}

function receive({ audit, nowMs, newId }: PipelineDeps, arrival: Arrival): Visit {
  const { remoteAddress } = arrival.request;
  return { ...arrival, record: new RequestRecord({ audit, nowMs, id: newId(), remoteAddress }) };
}

function activeSnapshot({ current, nowMs }: PipelineDeps): ActiveSnapshot {
  const snapshot = current();
  if (snapshot === undefined) throw new DaypassError('snapshot_missing', 'The data plane has no configuration yet');
  if (!(nowMs() < snapshot.expiresAt * 1000))
    throw new DaypassError('snapshot_expired', "The data plane's configuration has expired");
  return snapshot;
}

// Nothing is decided for a request that could not be recorded.
function beginRecord(
  { audit }: PipelineDeps,
  record: RequestRecord,
  route: Route,
  head: Head,
  token: VerifiedToken | undefined,
): void {
  if (!audit.accepting()) throw new DaypassError('audit_unavailable', 'The audit cannot be written');
  const service = route.service?.config.name ?? route.prefix.slice('/s/'.length);
  const asker = token === undefined ? 'anonymous' : token.claims;
  record.identify({ asker, service, method: head.method, path: route.target.path, snapshot: route.snapshot });
}

async function holdBody({ bodyRoom }: PipelineDeps, visit: Visit, head: Head): Promise<HeldBody> {
  const { request, response, record, cancellation } = visit;
  bodyRoom.check(head);
  cancellation.check();
  if (head.expectsContinue) response.proceed();
  const whole = bodyRoom.hold(request, head, (bytes) => {
    record.requestBytes += bytes;
  });
  try {
    visit.heldBody = await untilCancelled(cancellation, whole);
    return visit.heldBody;
  } catch (error) {
    // What comes whole after all finds nobody.
    void whole.then(
      (late) => late.release(),
      () => undefined,
    );
    throw error;
  }
}

function untilCancelled<T>(cancellation: Cancellation, work: Promise<T>): Promise<T> {
  const failure = Promise.withResolvers<never>();
  cancellation.follow({ cancelled: failure.reject });
  return Promise.race([work, failure.promise]);
}

async function beginBody(
  { request, response, record, cancellation }: Visit,
  head: Head,
  limits: DataLimits,
): Promise<RequestBody | undefined> {
  if (!hasBody(head)) return undefined;
  // Who left while it was decided has no body to come, and will not be told of again.
  cancellation.check();
  if (head.expectsContinue) response.proceed();
  const body = openBody(request, limits, (bytes) => {
    record.requestBytes += bytes;
  });
  return untilCancelled(cancellation, body);
}
