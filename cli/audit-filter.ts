// The flags that choose audit events, and the filter that they make.
import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { type AuditFilter, AuditFilterSchema, AuditKind, Outcome } from '@daypass/sdk/gen/daypass/v1/audit_pb';
import { type Command, Option } from 'commander';
import { timeFlag } from './duration.ts';

/** What the flags hold. */
export type AuditOptions = {
  readonly service?: string;
  readonly client?: string;
  readonly jti?: string;
  readonly outcome?: string;
  readonly since?: string;
  readonly until?: string;
  readonly kind?: string;
  readonly decision?: string;
};

const OUTCOMES: Readonly<Record<string, Outcome>> = {
  allowed: Outcome.ALLOWED,
  refused: Outcome.REFUSED,
  failed: Outcome.FAILED,
  pending: Outcome.PENDING,
};

const KINDS: Readonly<Record<string, AuditKind>> = { request: AuditKind.REQUEST, change: AuditKind.CHANGE };

/** Adds the flags; `--until` is for lists alone. */
export const addAuditFlags = (command: Command): Command =>
  command
    .option('--service <name>', 'of this service')
    .option('--client <label>', 'of this client label')
    .option('--jti <id>', 'of this token')
    .addOption(new Option('--outcome <outcome>', 'with this outcome').choices(Object.keys(OUTCOMES)))
    .option('--since <time>', 'since then: RFC 3339, or so long ago as 15m')
    .addOption(
      new Option('--kind <kind>', 'requests, or changes at the control plane (default: request)').choices(
        Object.keys(KINDS),
      ),
    )
    .option('--decision <id>', 'with this decision id, as a refusal shows it');

/** The filter. @throws UsageError for a time that is none */
export const auditFilter = (options: AuditOptions, nowMs: number): AuditFilter =>
  create(AuditFilterSchema, {
    service: options.service ?? '',
    client: options.client ?? '',
    jti: options.jti ?? '',
    decisionId: options.decision ?? '',
    outcome: OUTCOMES[options.outcome ?? ''] ?? Outcome.UNSPECIFIED,
    kind: KINDS[options.kind ?? ''] ?? AuditKind.UNSPECIFIED,
    ...(options.since === undefined ? {} : { since: timestampFromMs(timeFlag(options.since, '--since', nowMs)) }),
    ...(options.until === undefined ? {} : { until: timestampFromMs(timeFlag(options.until, '--until', nowMs)) }),
  });

/** An outcome as a person reads it. */
export const outcomeText = (outcome: Outcome): string =>
  Object.entries(OUTCOMES).find(([, value]) => value === outcome)?.[0] ?? '-';
