// The data plane's listener: hands requests to the pipeline, answers what is not HTTP, drains, closes.
import type { AddressInfo } from 'node:net';
import type { UpstreamPolicy } from '@daypass/core/address';
import type { ActiveSnapshot } from './active.ts';
import type { AuditSink } from './audit/sink.ts';
import { createAuthenticator } from './authenticate.ts';
import { createAuthorizer } from './authorize.ts';
import { createClosing } from './closing.ts';
import { createSystemResolve, type Resolve } from './dial.ts';
import { createBodyRoom } from './held-body.ts';
import { createLimiter } from './limit.ts';
import { connectionFailures, type DataLimits, DEFAULT_LIMITS } from './limits.ts';
import type { Log } from './log.ts';
import type { Metrics } from './metrics.ts';
import { createPipeline } from './pipeline.ts';
import { createProver, type NonceRule } from './proof.ts';
import { createReception } from './reception.ts';
import { createRunningRequests } from './running.ts';
import { createSeals } from './seals.ts';
import { createLimitMemory, declareShared, openSharedLimits, type SharedLimits } from './shared/limits.ts';
import { createTransportServer } from './transport/server.ts';
import type { UnsealKeys } from './unseal-keys.ts';
import { createUpstreams } from './upstreams.ts';

/** What the data server needs. */
export type DataServerDeps = {
  readonly limits?: Partial<DataLimits>;
  /** What is counted over all threads; this server alone if left out. */
  readonly shared?: SharedLimits;
  /** Adds `Server-Timing` with the decision id and the snapshot's version to every forwarded answer. */
  readonly serverTiming?: boolean;
  readonly current: () => ActiveSnapshot | undefined;
  readonly audit: AuditSink;
  readonly policy: UpstreamPolicy;
  /** Private keys that open seals. */
  readonly unsealKeys: UnsealKeys;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** A fresh id of at least 128 random bits. */
  readonly newId: () => string;
  readonly log: Log;
  readonly metrics: Metrics;
  /** PEM; without it the server speaks cleartext. */
  readonly tls?: { readonly cert: string; readonly key: string } | undefined;
  /** Others may listen at the same address (SO_REUSEPORT). */
  readonly reusePort?: boolean;
  /** Where clients reach this server, without a slash at the end; the listen address if left out. */
  readonly publicUrl?: string | undefined;
  /** When proofs must hold a nonce; `auto` if left out. */
  readonly dpopNonce?: NonceRule;
  /** Asks the DNS; the system's resolver if left out. */
  readonly resolve?: Resolve;
};

/** The running server. */
export type DataServer = {
  /** Starts to listen; rejects with what the system says. */
  listen(host: string, port: number): Promise<AddressInfo>;
  /** Ends requests on their way that the current snapshot, or the clock, takes the ground from. */
  review(): void;
  /** Takes no new connection, and ends each one after its next answer; resolves when the last one has ended. */
  leave(): Promise<void>;
  /** Takes no new connection or request, and resolves when the last one was answered. */
  drain(): Promise<void>;
  /** Ends everything at once. */
  close(): Promise<void>;
};

/** Wires the request path. */
export function createDataServer(deps: DataServerDeps): DataServer {
  const limits: DataLimits = Object.freeze({ ...DEFAULT_LIMITS, ...deps.limits });
  const { policy, audit, current, log, metrics, newId, now: nowMs, unsealKeys, resolve = createSystemResolve() } = deps;
  const shared = deps.shared ?? openSharedLimits(createLimitMemory(limits, nowMs()), 0, limits, nowMs);
  if (deps.shared === undefined) declareShared(metrics, shared);
  const state: State = { isDraining: false, publicUrl: deps.publicUrl };
  const upstreams = createUpstreams({ policy, resolve, limits });
  const reception = createReception({ audit, log, metrics, newId });
  const running = createRunningRequests({ current, nowMs, slowDecisionMs: limits.slowDecisionMs });
  const reviews = setInterval(running.review, REVIEW_MS).unref();
  const publicUrl = (): string => state.publicUrl ?? '';
  const prover = createProver({ limits, shared, nowMs, nonceRule: deps.dpopNonce ?? 'auto', publicUrl });
  const pipeline = createPipeline({
    limits,
    current,
    audit,
    authenticator: createAuthenticator({ limits, nowMs, metrics, prover, failures: shared.failures }),
    authorizer: createAuthorizer({ seals: createSeals(unsealKeys, limits), nowMs }),
    bodyRoom: createBodyRoom(limits, shared.heldBytes, metrics),
    limiter: createLimiter(shared, metrics),
    upstreams,
    running,
    nowMs,
    newId,
    publicUrl,
    serverTiming: deps.serverTiming === true,
    closing: createClosing(audit),
    refuse: reception.refuse,
    onEnd: reception.onEnd,
  });
  const server = createTransportServer({
    ...limits,
    tls: deps.tls,
    reusePort: deps.reusePort === true,
    connections: shared.connections,
    failureFlow: connectionFailures(limits),
    nowMs,
    onRequest(arrival) {
      if (state.isDraining) reception.refuseEarly(arrival.response, 'draining');
      else pipeline(arrival);
    },
    onWireError: reception.onWireError,
    reasonOf: reception.reasonOf,
    onConnect: (socket) => reception.refuseRaw(socket, 'method_refused'),
  });
  return {
    async listen(host, port) {
      const address = await server.listen(host, port);
      state.publicUrl ??= urlOf(address, deps.tls !== undefined);
      return address;
    },
    review: running.review,
    leave: server.leave,
    async drain() {
      state.isDraining = true;
      await server.drain();
    },
    async close() {
      state.isDraining = true;
      clearInterval(reviews);
      upstreams.destroy();
      await server.close();
    },
  };
}

/** How long a request may go on after the clock has ended it; a snapshot that ends it is told at once. */
const REVIEW_MS = 100;

type State = { isDraining: boolean; publicUrl: string | undefined };

const urlOf = ({ address, family, port }: AddressInfo, isTls: boolean): string =>
  `${isTls ? 'https' : 'http'}://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
