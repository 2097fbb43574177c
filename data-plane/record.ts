// The record of one request: one decision and one outcome, both written before the response's last byte leaves.
import { MAX_PATH } from '@daypass/core/audit';
import type { ErrorCode } from '@daypass/core/errors';
import type { VerifiedClaims } from '@daypass/core/token';
import type { ActiveSnapshot } from './active.ts';
import type { AuditSink, DecisionInput, Draft, OutcomeInput } from './audit/sink.ts';

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

/** What was asked, by whom, under which snapshot. */
type Asked = {
  readonly asker: Asker;
  readonly service: string;
  readonly method: string;
  readonly path: string;
  readonly snapshot: ActiveSnapshot;
};

/** The record of one request, from its head to its end. Every method that writes throws `audit_unavailable`. */
export class RequestRecord {
  readonly id: string;
  requestBytes = 0;
  responseBytes = 0;
  readonly #deps: Deps;
  readonly #started = performance.now();
  #asked: Asked | undefined;
  /** When it was asked, in ms since the epoch. */
  #time = 0;
  #rule: string | undefined;
  #credentialId = '';
  #reason = '';
  #isDecisionWritten = false;
  #ended = false;
  #completed = false;

  constructor(deps: Deps) {
    this.#deps = deps;
    this.id = deps.id;
  }

  /** From here on the request is recorded by itself, however it ends. */
  identify(asked: Asked): void {
    this.#asked = asked;
    this.#time = Math.trunc(this.#deps.nowMs());
  }

  /** The request may go upstream. */
  allow(rule: string, credentialId: string): void {
    if (this.#asked === undefined) throw new Error('a request was allowed before anybody asked for it');
    this.#rule = rule;
    this.#credentialId = credentialId;
  }

  /** What was allowed and has not begun is to be decided again. */
  withdraw(): void {
    this.#rule = undefined;
    this.#credentialId = '';
  }

  get isAllowed(): boolean {
    return this.#rule !== undefined;
  }

  /** Whether it is known who asks. */
  get isIdentified(): boolean {
    return this.#asked !== undefined;
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
    if (this.#ended || this.#isDecisionWritten || this.#asked === undefined) return;
    // What the sink was given it keeps, even if it cannot write it now.
    this.#isDecisionWritten = true;
    this.#deps.audit.append([this.#decision(this.#asked)]);
  }

  /** Where decisions have to be durable before their requests go on: writes this one, and resolves when it is. */
  commit(): Promise<void> | undefined {
    const { audit } = this.#deps;
    if (audit.commit === undefined) return undefined;
    this.decideNow();
    return audit.commit();
  }

  /** Writes what is not yet written; later calls do nothing. */
  end(ending: Ending): void {
    const drafts: Draft[] = [];
    this.collect(ending, drafts);
    if (drafts.length > 0) this.#deps.audit.append(drafts);
    this.#completed = this.#ended && ending.result === 'completed';
  }

  /** Adds what `end` writes, for somebody who writes it with others' at once, and then calls `recorded`. */
  collect(ending: Ending, drafts: Draft[]): void {
    if (this.#ended || this.#asked === undefined) return;
    this.#ended = true;
    if (!this.#isDecisionWritten) drafts.push(this.#decision(this.#asked));
    drafts.push({
      kind: 'outcome',
      id: this.id,
      time: Math.trunc(this.#deps.nowMs()),
      result: ending.result,
      reason: ending.reason,
      status: ending.status,
      request_bytes: this.requestBytes,
      response_bytes: this.responseBytes,
      latency_micros: this.micros,
    });
  }

  /** What was collected of a completed request is written. */
  recorded(): void {
    this.#completed = true;
  }

  /** A request that was refused: by itself after authentication, else counted with its like. */
  refuse(code: ErrorCode, status: number, service: string): void {
    if (this.#asked === undefined) {
      if (!this.#ended) this.#deps.audit.countRefusal(code, this.#deps.remoteAddress, service);
      this.#ended = true;
      return;
    }
    // What was allowed and then failed, failed; the decision stands.
    if (!this.isAllowed) this.#reason = code;
    this.end({ result: this.isAllowed ? 'failed' : 'refused', reason: code, status });
  }

  #decision({ asker, service, method, path, snapshot }: Asked): DecisionInput {
    const claims = asker === 'anonymous' ? undefined : asker;
    return {
      kind: 'decision',
      id: this.id,
      time: this.#time,
      result: this.isAllowed ? 'allowed' : 'refused',
      reason: this.#reason,
      jti: claims?.jti ?? '',
      caller: claims?.caller ?? '',
      principal: claims?.sub ?? 'anonymous',
      client: claims?.client_id ?? '',
      service: withoutTokens(service),
      method,
      path: withoutTokens(path).slice(0, MAX_PATH),
      rule: this.#rule ?? '',
      credential_id: this.#credentialId,
      snapshot_version: snapshot.version,
      count: 1,
      source: '',
    };
  }
}

/** The caller chooses the path: a token that it puts there would be good for whoever reads the record. */
const withoutTokens = (path: string): string =>
  path.includes('eyJ') ? path.replace(/[\w.-]+/g, withoutTokensIn) : path;

// Three parts with dots between, the first of which holds `{"` in base64url. One pass, whatever the path repeats.
const withoutTokensIn = (run: string): string => {
  const parts = run.split('.');
  const kept: string[] = [];
  for (let at = 0; at < parts.length; at += 1) {
    const part = parts[at] ?? '';
    const start = part.indexOf('eyJ');
    const isToken = start >= 0 && part.length > start + 3 && Boolean(parts[at + 1]) && Boolean(parts[at + 2]);
    kept.push(isToken ? `${part.slice(0, start)}[token]` : part);
    if (isToken) at += 2;
  }
  return kept.join('.');
};
