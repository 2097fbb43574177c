// The record of one request: one decision and one outcome, both written before the response's last byte leaves.
import { MAX_PATH } from '@daypass/core/audit';
import type { ErrorCode } from '@daypass/core/errors';
import type { VerifiedClaims } from '@daypass/core/token';
import type { ActiveSnapshot } from './active.ts';
import type { AuditSink, DecisionInput, OutcomeInput } from './audit/sink.ts';

/** How a request ended. */
export type Ending = {
  readonly result: OutcomeInput['result'];
  readonly reason: string;
  /** What the client got; 0: nothing. */
  readonly status: number;
};

type Deps = {
  readonly audit: AuditSink;
  readonly nowMs: () => number;
  readonly id: string;
  readonly remoteAddress: string;
};

/** Who asked: the claims of a verified token, or nobody, of an anonymous service. */
export type Asker = VerifiedClaims | 'anonymous';

/** The record of one request, from its head to its end. Every method that writes throws `audit_unavailable`. */
export class RequestRecord {
  readonly id: string;
  requestBytes = 0;
  responseBytes = 0;
  readonly #deps: Deps;
  readonly #started = performance.now();
  #decision: DecisionInput | undefined;
  #isDecisionWritten = false;
  #ended = false;
  #completed = false;

  constructor(deps: Deps) {
    this.#deps = deps;
    this.id = deps.id;
  }

  /** From here on the request is recorded by itself, however it ends. */
  identify(asker: Asker, request: { service: string; method: string; path: string }, snapshot: ActiveSnapshot): void {
    const claims = asker === 'anonymous' ? undefined : asker;
    this.#decision = {
      id: this.id,
      time: Math.trunc(this.#deps.nowMs()),
      result: 'refused',
      reason: '',
      jti: claims?.jti ?? '',
      caller: claims?.caller ?? '',
      principal: claims?.sub ?? 'anonymous',
      client: claims?.client_id ?? '',
      service: request.service,
      method: request.method,
      path: request.path.slice(0, MAX_PATH),
      rule: '',
      credential_id: '',
      snapshot_version: snapshot.version,
      count: 1,
      source: '',
    };
  }

  /** The request may go upstream. */
  allow(rule: string, credentialId: string): void {
    if (this.#decision === undefined) throw new Error('a request was allowed before anybody asked for it');
    this.#decision = { ...this.#decision, result: 'allowed', rule, credential_id: credentialId };
  }

  get isAllowed(): boolean {
    return this.#decision?.result === 'allowed';
  }

  get hasEnded(): boolean {
    return this.#ended;
  }

  /** Whether all of an answer was handed on. */
  get hasCompleted(): boolean {
    return this.#completed;
  }

  /** Microseconds since the head came. */
  get micros(): number {
    return Math.max(0, Math.round((performance.now() - this.#started) * 1000));
  }

  /** Writes the decision alone, for a request that takes long. */
  decideNow(): void {
    if (this.#ended || this.#isDecisionWritten || this.#decision === undefined) return;
    this.#deps.audit.append(this.#decision, undefined);
    this.#isDecisionWritten = true;
  }

  /** Writes what is not yet written; later calls do nothing. */
  end(ending: Ending): void {
    if (this.#ended || this.#decision === undefined) return;
    this.#ended = true;
    const decision = this.#isDecisionWritten ? undefined : this.#decision;
    this.#deps.audit.append(decision, {
      id: this.id,
      time: Math.trunc(this.#deps.nowMs()),
      ...ending,
      request_bytes: this.requestBytes,
      response_bytes: this.responseBytes,
      latency_micros: this.micros,
    });
    this.#completed = ending.result === 'completed';
  }

  /** A request that was refused: by itself after authentication, else counted with its like. */
  refuse(code: ErrorCode, status: number, service: string): void {
    if (this.#decision === undefined) {
      if (!this.#ended) this.#deps.audit.countRefusal(code, this.#deps.remoteAddress, service);
      this.#ended = true;
      return;
    }
    if (!this.isAllowed) this.#decision = { ...this.#decision, reason: code };
    // What was allowed and then failed, failed; the decision stands.
    this.end({ result: this.isAllowed ? 'failed' : 'refused', reason: code, status });
  }
}
