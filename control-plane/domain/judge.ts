// Compares how a recorded request is decided as things stand and under a change, with the record itself as evidence.
import type { ErrorCode } from '@daypass/core/errors';
import type { AuditEventRow, ServiceRow } from '../store/interface.ts';
import { type Asked, type AskedToken, type Decision, decide, isWhole } from './decide.ts';
import { type RuleLists, readRuleLists } from './rule-lists.ts';
import type { TriedService } from './trial.ts';

/** What a change makes of a request; undefined: nothing. */
export type Judgement =
  /** It is allowed as things stand. */
  | { readonly kind: 'refused'; readonly code: ErrorCode; readonly rule: string }
  /** It is refused as things stand. */
  | { readonly kind: 'allowed'; readonly code: ErrorCode; readonly rule: string }
  | { readonly kind: 'unknown'; readonly rule: string; readonly why: string };

/** Judges the recorded requests of one service. */
export type Judge = (event: AuditEventRow, token: AskedToken | undefined) => Promise<Judgement | undefined>;

/** Makes the judge of a change. It pauses before each named scope, which may hold thousands of rules. */
export const createJudge = (
  { before, after }: Pick<TriedService, 'before' | 'after'>,
  pause: () => Promise<void>,
): Judge => {
  const isTouched = createTouched(before, after, pause);
  const [now, then] = [before && askedService(before, pause), after && askedService(after, pause)];
  return async (event, token) => {
    const stands = await decide(event, { service: now, token });
    const would = await decide(event, { service: then, token });
    if (stands.kind !== 'unknown' && would.kind !== 'unknown') return compare(stands, would);
    const known = stands.kind === 'unknown' ? recorded(event, before) : stands;
    if (would.kind !== 'unknown') return known === undefined ? unknown(stands) : compare(known, would);
    // The same rules are asked, and answer the same.
    if (stands.kind === 'unknown' && !(await isTouched(event, token))) return undefined;
    return unknown(would);
  };
};

const compare = (stands: Decision, would: Decision): Judgement | undefined => {
  if (stands.kind === 'allowed' && would.kind === 'refused') return { ...would, rule: stands.rule };
  if (stands.kind === 'refused' && would.kind === 'allowed') return { ...would, code: stands.code };
  return undefined;
};

const unknown = (decision: Decision): Judgement | undefined => (decision.kind === 'unknown' ? decision : undefined);

/** What the record says of rules that looked at more than it keeps: only if the service is still what it was then. */
const recorded = (event: AuditEventRow, before: ServiceRow | undefined): Decision | undefined => {
  if (before === undefined || event.time < before.updatedAt) return undefined;
  if (event.rule !== '') return { kind: 'allowed', rule: event.rule };
  return event.reason === 'scope_refused' ? { kind: 'refused', code: 'scope_refused' } : undefined;
};

const askedService = (row: ServiceRow, pause: () => Promise<void>): NonNullable<Asked['service']> => {
  const known = new Map<string, Promise<RuleLists>>();
  return {
    row,
    scope: async (name) => {
      await pause();
      const texts = rulesOf(row, name);
      if (texts === undefined) return undefined;
      const lists = known.get(name) ?? readRuleLists(texts);
      known.set(name, lists);
      return lists;
    },
  };
};

const rulesOf = ({ scopes }: ServiceRow, name: string): readonly string[] | undefined =>
  Object.hasOwn(scopes, name) ? scopes[name] : undefined;

type Touched = (event: AuditEventRow, token: AskedToken | undefined) => Promise<boolean>;

/** Whether the change might decide a request otherwise, of which neither decision is known. */
const createTouched = (
  before: ServiceRow | undefined,
  after: ServiceRow | undefined,
  pause: () => Promise<void>,
): Touched => {
  const changed = new Map<string, Promise<RuleLists> | undefined>();
  /** Rules that come or go; undefined: none. */
  const changesOf = (name: string): Promise<RuleLists> | undefined => {
    if (changed.has(name)) return changed.get(name);
    const old = (before && rulesOf(before, name)) ?? [];
    const fresh = (after && rulesOf(after, name)) ?? [];
    const [gone, come] = [new Set(old), new Set(fresh)];
    const rules = [...old.filter((text) => !come.has(text)), ...fresh.filter((text) => !gone.has(text))];
    changed.set(name, rules.length === 0 ? undefined : readRuleLists(rules));
    return changed.get(name);
  };
  const hasOtherClients = JSON.stringify(before?.config.clients) !== JSON.stringify(after?.config.clients);
  return async ({ method, path }, token) => {
    if (hasOtherClients && token?.parents.includes(undefined) === true) return true;
    for (const name of token?.scopes ?? []) {
      const changes = changesOf(name);
      if (changes === undefined) continue;
      await pause();
      if (!isWhole(path) || (await changes).maybe(method, path) !== undefined) return true;
    }
    return false;
  };
};
