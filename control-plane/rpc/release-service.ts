// ReleaseService: what was published, and what a change would do before it is.
import type { ServiceImpl } from '@connectrpc/connect';
import { DaypassError } from '@daypass/core/errors';
import type { CallerActor } from '../domain/actor.ts';
import type { Canaries, Canary, CanaryEnd, CanaryState } from '../domain/canaries.ts';
import type { Tally } from '../domain/canary-verdict.ts';
import type { Plan } from '../domain/change.ts';
import type { PublishedVersion, PublishedVersions, SnapshotPart } from '../domain/published-versions.ts';
import type { ReleaseTest, TestEvent } from '../domain/release-test.ts';
import type { PlanScope } from '../domain/scopes.ts';
import type { ServicePlans } from '../domain/service-plans.ts';
import {
  type PromoteRequest,
  type ReleaseService,
  type TakeBackRequest,
  type TestRequest,
  ReplayedDecision_Verdict as Verdict,
} from '../gen/daypass/v1/release_pb.ts';
import { callerOf } from './authenticate.ts';
import { present, toInput, toUpdate } from './service-words.ts';
import { safeNumber, toRollout, toTime, waitingOf, wholeMs } from './words.ts';

/** What the handlers call. */
export type Releases = {
  readonly versions: PublishedVersions;
  readonly plans: ServicePlans;
  readonly planScope: PlanScope;
  readonly test: ReleaseTest;
  readonly canaries: Pick<Canaries, 'list' | 'promote' | 'takeBack'>;
};

const DEFAULT_POOL = 'default';
const DAY_MS = 24 * 60 * 60 * 1000;
const REQUESTS_MAX = 10_000;

/** The handlers. */
export const releaseService = (releases: Releases): ServiceImpl<typeof ReleaseService> => ({
  listSnapshots: async ({ pool, pageSize, pageToken }) => {
    const { versions, nextPageToken } = await releases.versions.list(pool || DEFAULT_POOL, { pageSize, pageToken });
    return { snapshots: versions.map(toPublished), nextPageToken };
  },
  getSnapshot: async function* ({ pool, version }) {
    for await (const part of releases.versions.get(pool || DEFAULT_POOL, safeNumber(version, 'version'))) {
      yield { snapshot: toPart(part) };
    }
  },
  listCanaries: async () => ({ canaries: (await releases.canaries.list()).map(toCanary) }),
  promote: async (request, context) => {
    const waiting = waitingOf(request.wait, context.signal);
    return toEnd(await releases.canaries.promote(callerOf(context), whichOf(request), waiting));
  },
  takeBack: async (request, context) => {
    const waiting = waitingOf(request.wait, context.signal);
    return toEnd(await releases.canaries.takeBack(callerOf(context), whichOf(request), waiting));
  },
  test: async function* (request, context) {
    const caller = callerOf(context);
    const window = {
      windowMs: wholeMs(request.window) ?? DAY_MS,
      requestsMax: request.maxRequests === 0 ? REQUESTS_MAX : request.maxRequests,
    };
    const plan = await planOf(releases, caller, request);
    for await (const event of releases.test(caller, plan, window, context.signal)) {
      yield { event: toTestEvent(event) };
    }
  },
});

const whichOf = ({ pool, id }: PromoteRequest | TakeBackRequest) => ({ pool: pool || DEFAULT_POOL, id });

const toEnd = ({ canary, rollout }: CanaryEnd) => ({ canary: canaryWords(canary), rollout: toRollout(rollout) });

const toCanary = ({ canary, tallies: { before, during, others } }: CanaryState) => ({
  ...canaryWords(canary),
  before: toTally(before),
  during: toTally(during),
  others: toTally(others),
});

const toTally = ({ requests, bad }: Tally) => ({ requests: BigInt(requests), bad: BigInt(bad) });

const canaryWords = ({ id, pool, nodes, subject, method, caller, ending, why, ...canary }: Canary) => ({
  ...{ id, pool, nodes: [...nodes], subject, method, caller, ending, why },
  startTime: toTime(canary.startedAt),
  promoteTime: toTime(canary.promoteAt),
  endTime: toTime(canary.endedAt),
  version: BigInt(canary.version),
});

const planOf = async (
  { plans, planScope }: Releases,
  caller: CallerActor,
  { change }: TestRequest,
): Promise<Plan<unknown>> => {
  switch (change.case) {
    case 'create':
      return plans.create(toInput(present(change.value.service)));
    case 'update':
      return plans.update(toUpdate(change.value));
    case 'delete':
      return plans.delete(change.value.name, change.value.etag);
    case 'setScope': {
      const { service, scope, rules, etag } = change.value;
      return planScope(caller, { service, scope, rules: rules?.rules, etag });
    }
    case undefined:
      throw new DaypassError('invalid_argument', 'is required', { field: 'change' });
    default:
      return change satisfies never;
  }
};

const toPublished = ({ row, changes }: PublishedVersion) => ({
  version: BigInt(row.version),
  digest: row.digest,
  issueTime: toTime(row.issuedAt),
  expireTime: toTime(row.expiresAt),
  caller: row.caller,
  method: row.method,
  subject: row.subject,
  nodes: [...(row.nodes ?? [])],
  changes: changes.map(({ kind, added, changed, removed }) => ({ kind, added, changed, removed })),
});

const toPart = ({ signed, entries }: SnapshotPart) => ({
  ...(signed === undefined
    ? {}
    : {
        manifest: signed.manifest,
        signature: signed.signature,
        key: { statement: signed.keyStatement, signature: signed.keySignature },
      }),
  entries: entries.map(({ kind, name, content }) => ({ kind, name, content })),
});

const VERDICTS = { refused: Verdict.REFUSED, allowed: Verdict.ALLOWED, unknown: Verdict.UNKNOWN } as const;

const toTestEvent = (found: TestEvent) => {
  if (found.kind === 'summary') {
    const { isCut, oldestAt, unseenFields, ...counts } = found.summary;
    const value = { ...counts, cut: isCut, oldestTime: toTime(oldestAt), unseenFields: [...unseenFields] };
    return { case: 'summary' as const, value };
  }
  const { event, judgement } = found;
  const { decisionId, node, service, jti, client, method, path } = event;
  const value = {
    ...{ decisionId, node, service, jti, client, method, path },
    verdict: VERDICTS[judgement.kind],
    time: toTime(event.time),
    rule: judgement.rule,
    ...(judgement.kind === 'unknown' ? { why: judgement.why } : { code: judgement.code }),
  };
  return { case: 'decision' as const, value };
};
