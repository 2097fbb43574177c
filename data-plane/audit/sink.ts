// What the request path asks of the audit, kept by a spool.
import type { DecisionRecord, OutcomeRecord } from '@daypass/core/audit';
import type { ErrorCode } from '@daypass/core/errors';

/** A decision before it has its place in the chain. */
export type DecisionInput = Omit<DecisionRecord, 'seq' | 'prev' | 'node'>;

/** An outcome before it has its place in the chain. */
export type OutcomeInput = Omit<OutcomeRecord, 'seq' | 'prev' | 'node'>;

/** A record before it has its place in the chain. */
export type Draft = DecisionInput | OutcomeInput;

/** Where the request path leaves its records. */
export type AuditSink = {
  /** False when the spool is full or failing: then nothing may go upstream. */
  accepting(): boolean;
  /** One synchronous write of the given records; they survive the process. Throws `audit_unavailable`. */
  append(drafts: readonly Draft[]): void;
  /**
   * What was appended is durable when it resolves; rejects with `audit_unavailable`. Only where decisions have to be
   * durable before their requests go on.
   */
  readonly commit?: (() => Promise<void>) | undefined;
  /** Counts a refusal before authentication. Costs an outsider's flood one record a second by reason and network. */
  countRefusal(reason: ErrorCode, remoteAddress: string, service: string): void;
};
