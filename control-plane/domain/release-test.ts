// Plays recorded requests again under a change that is not made, and says which would be decided otherwise.
import { DaypassError } from '@daypass/core/errors';
import { parseRule } from '@daypass/core/rule-parse';
import type { Aggregates, AuditCursor, AuditEventRow, ServiceRow, TokenRow } from '../store/interface.ts';
import type { CallerActor } from './actor.ts';
import type { Plan } from './change.ts';
import type { AskedToken } from './decide.ts';
import { createJudge, type Judge, type Judgement } from './judge.ts';
import { type RuleLists, readRuleLists } from './rule-lists.ts';
import type { TriedService, Try } from './trial.ts';
import { createTurns } from './turns.ts';

/** Which requests are looked at: the newest of a time, at most so many. */
export type TestWindow = { readonly windowMs: number; readonly requestsMax: number };

/** What the test found. */
export type TestEvent =
  | { readonly kind: 'decision'; readonly event: AuditEventRow; readonly judgement: Judgement }
  | { readonly kind: 'summary'; readonly summary: TestSummary };

export type TestSummary = {
  readonly replayed: number;
  readonly unchanged: number;
  readonly refused: number;
  readonly allowed: number;
  readonly unknown: number;
  /** There are older requests in the window. */
  readonly isCut: boolean;
  /** Milliseconds; undefined: nothing was looked at. */
  readonly oldestAt: number | undefined;
  /** Changed fields that may decide otherwise and that no record shows. */
  readonly unseenFields: readonly string[];
};

/**
 * Tests a change; the summary comes last. Throws what making it would throw, and `overloaded` where too many run. Who asked
 * and has gone, by `signal`, is not worked for any more.
 */
export type ReleaseTest = (
  caller: CallerActor,
  plan: Plan<unknown>,
  window: TestWindow,
  signal: AbortSignal,
) => AsyncGenerator<TestEvent, void, undefined>;

type Read = Pick<Aggregates, 'audit' | 'tokens'>;
type Deps = {
  readonly attempt: Try;
  /** Outside a transaction. */
  readonly read: Read;
  /** Milliseconds. */
  readonly now: () => number;
};

/** At a time, of all who ask: one may take minutes where services have many thousands of rules. */
const TESTS_MAX = 4;

/** Makes the test. */
export const createReleaseTest = (deps: Deps): ReleaseTest => {
  const test = createTest(deps);
  let running = 0;
  return async function* (...asked) {
    if (running >= TESTS_MAX) throw new DaypassError('overloaded', `${TESTS_MAX} tests of changes run already`);
    running += 1;
    try {
      yield* test(...asked);
    } finally {
      running -= 1;
    }
  };
};

const createTest = ({ attempt, read, now }: Deps): ReleaseTest =>
  async function* (caller, plan, { windowMs, requestsMax }, signal) {
    const pause = createTurns(signal);
    const since = now() - windowMs;
    const { services } = await attempt(caller, plan);
    const counts = { replayed: 0, unchanged: 0, refused: 0, allowed: 0, unknown: 0 };
    let left = requestsMax;
    let isCut = false;
    let oldestAt: number | undefined;
    for (const service of services) {
      const judge = createJudge(service, pause);
      const tokens = createTokens(read);
      for await (const { events, isLast } of pagesOf(read, { service: service.name, since, most: left })) {
        isCut ||= isLast === 'cut';
        left -= events.length;
        for await (const { event, judgement } of judgeAll(events.filter(isOneRequest), judge, tokens, pause)) {
          counts.replayed += 1;
          counts[judgement?.kind ?? 'unchanged'] += 1;
          oldestAt = event.time;
          if (judgement !== undefined) yield { kind: 'decision', event, judgement };
        }
      }
    }
    yield { kind: 'summary', summary: { ...counts, isCut, oldestAt, unseenFields: services.flatMap(unseenFields) } };
  };

/** Counted refusals, before anybody was known, have neither method nor path. */
const isOneRequest = ({ method }: AuditEventRow): boolean => method !== '';

async function* judgeAll(events: readonly AuditEventRow[], judge: Judge, tokens: Tokens, pause: () => Promise<void>) {
  const known = await tokens(events);
  for (const event of events) {
    await pause();
    if (event.jti !== '' && !known.has(event.jti)) {
      yield { event, judgement: { kind: 'unknown', rule: '', why: 'its token is not known any more' } as const };
      continue;
    }
    yield { event, judgement: await judge(event, known.get(event.jti)) };
  }
}

const PAGE = 500;

type EventPage = { readonly events: readonly AuditEventRow[]; readonly isLast: 'no' | 'yes' | 'cut' };

async function* pagesOf(
  { audit }: Read,
  { service, since, most }: { readonly service: string; readonly since: number; readonly most: number },
): AsyncGenerator<EventPage> {
  let left = most;
  let after: AuditCursor | undefined;
  for (;;) {
    const size = Math.min(PAGE, left);
    const rows = await audit.query({ kind: 'request', service, since }, { after, limit: size + 1 });
    const events = rows.slice(0, size);
    left -= events.length;
    after = events.at(-1) ?? after;
    if (rows.length <= size) return yield { events, isLast: 'yes' };
    if (left === 0) return yield { events, isLast: 'cut' };
    yield { events, isLast: 'no' };
  }
}

/** The tokens of a page of events, by id. */
type Tokens = (events: readonly AuditEventRow[]) => Promise<ReadonlyMap<string, AskedToken>>;

/** Lists of rules that are kept ready: many tokens have the same. */
const LISTS_MAX = 1000;

const createTokens = ({ tokens }: Read): Tokens => {
  const ready = new Map<string, Promise<RuleLists>>();
  const listsOf = (texts: readonly string[]): Promise<RuleLists> => {
    const key = JSON.stringify(texts);
    const lists = ready.get(key) ?? readRuleLists(texts);
    if (ready.size >= LISTS_MAX) ready.clear();
    ready.set(key, lists);
    return lists;
  };
  return async (events) => {
    const rows = await tokens.getMany([...new Set(events.map(({ jti }) => jti))].filter((jti) => jti !== ''));
    const ancestors = await tokens.getMany([...new Set(rows.flatMap(({ parents }) => parents))]);
    const byJti = new Map(ancestors.map((row) => [row.jti, row]));
    const asked = rows.map(async (row) => [row.jti, await askedToken(row, byJti, listsOf)] as const);
    return new Map(await Promise.all(asked));
  };
};

const askedToken = async (
  row: TokenRow,
  byJti: ReadonlyMap<string, TokenRow>,
  listsOf: (texts: readonly string[]) => Promise<RuleLists>,
): Promise<AskedToken> => ({
  row,
  parents: row.parents.map((jti) => byJti.get(jti)),
  own: await listsOf(row.allow),
  scopes: row.allow.map(parseRule).flatMap((rule) => (rule.kind === 'scope' ? [rule.name] : [])),
});

/** What differs of these, the audit cannot say: how often, where a token was shown, what a seal or the upstream says. */
const unseenFields = ({ before, after }: TriedService): readonly string[] => {
  if (before === undefined || after === undefined) return [];
  return UNSEEN.filter(([, read]) => JSON.stringify(read(before)) !== JSON.stringify(read(after))).map(
    ([name]) => name,
  );
};

const UNSEEN: readonly (readonly [name: string, read: (row: ServiceRow) => unknown])[] = [
  ['upstream', ({ config }) => [config.origin, config.base_path]],
  ['place', ({ config }) => config.place],
  ['sealed_credential', ({ sealedCredential }) => sealedCredential],
  ['token_in', ({ config }) => config.token_in],
  ['is_default', ({ config }) => config.is_default],
  ['cleaning.drop_headers', ({ config }) => config.drop_headers],
  ['cleaning.drop_query', ({ config }) => config.drop_query],
  ['limits.per_token', ({ config }) => config.limits.per_token],
  ['limits.per_client', ({ config }) => config.limits.per_client],
  ['limits.per_service', ({ config }) => config.limits.per_service],
];
