// Sets one named scope of a service: by an admin, or by a caller that may, as far as its ceiling covers what gets wider.
import { DaypassError } from '@daypass/core/errors';
import type { Aggregates, ServiceRow } from '../store/interface.ts';
import { type CallerActor, mayMintFor } from './actor.ts';
import { type CallerCeilings, fieldsOf, firstGap, readCeiling } from './ceiling.ts';
import type { Changes, Plan, Work } from './change.ts';
import { AUDITED } from './mint.ts';
import { operationLookup } from './operations.ts';
import { createProblems } from './problems.ts';
import type { Publisher } from './publisher.ts';
import type { Release, Releasing } from './release.ts';
import { checkRoom } from './room.ts';
import { checkLength, readRulesInTurns } from './rules.ts';
import { type ServiceChange, seenBy } from './services.ts';

/** What a named scope is to be. */
export type ScopeInput = {
  readonly service: string;
  readonly scope: string;
  /** Undefined: it is to be removed. */
  readonly rules: readonly string[] | undefined;
  readonly etag: string;
};

/** Sets named scopes. */
export type SetScope = (caller: CallerActor, input: ScopeInput, releasing: Releasing) => Promise<ServiceChange>;

/** Reads what a named scope is to be. */
export type PlanScope = (caller: CallerActor, input: ScopeInput) => Promise<Plan<ServiceRow>>;

type Read = Pick<Aggregates, 'services' | 'operations' | 'ceilings'>;

type PlanDeps = {
  /** Outside a transaction. */
  readonly read: Read;
  readonly ceilings: CallerCeilings;
  readonly publisher: Pick<Publisher, 'taken'>;
  /** Milliseconds. */
  readonly now: () => number;
  readonly newId: () => string;
};

type Deps = {
  readonly changes: Pick<Changes, 'refuse'>;
  readonly release: Release;
  readonly plan: PlanScope;
};

const METHOD = 'ServiceRegistry/SetScope';
/** Named scopes of one service, as its message has them. */
const SCOPES_MAX = 1000;

/**
 * Makes the planner of named scopes. Long lists are read before the transaction: whoever shares its commit would wait.
 * @throws {DaypassError} `permission_denied`, `not_found`, or what is wrong by its field; so does the work, and `etag_stale`
 */
export const createPlanScope =
  (deps: PlanDeps): PlanScope =>
  async (caller, input) => {
    const ready = await prepare(deps, caller, input);
    return { method: METHOD, work: (tx, asItIs) => setScope(tx, deps, asItIs, input, ready) };
  };

/**
 * Makes SetScope.
 * @throws {DaypassError} `permission_denied`, `not_found`, `etag_stale`, or what is wrong by its field
 */
export const createSetScope =
  (deps: Deps): SetScope =>
  async (caller, input, releasing) => {
    try {
      const { value: row, rollout } = await deps.release(caller, await deps.plan(caller, input), releasing);
      return { row: seenBy(caller, row), rollout };
    } catch (error) {
      if (error instanceof DaypassError && AUDITED.has(error.code)) {
        await deps.changes.refuse(caller, METHOD, { ...noteOf(input), reason: error.code });
      }
      throw error;
    }
  };

const noteOf = ({ service, scope }: ScopeInput) => ({ path: `services/${service}/scopes/${scope}`, service });

/** Rules that were read for a service and a caller as they were: good for as long as they are the same. */
type Ready = { readonly rules: readonly string[]; readonly service: ServiceRow; readonly caller: CallerActor };

const prepare = async (deps: PlanDeps, caller: CallerActor, input: ScopeInput): Promise<Ready | undefined> => {
  if (input.rules === undefined) return undefined;
  const service = await findService(deps.read, caller, input);
  const old = scopeOf(service, input.scope) ?? [];
  return { rules: await readScope(deps.read, deps, caller, { ...input, rules: input.rules, old }), service, caller };
};

/** Each change of a service, its operations included, or of a caller and its ceilings gives it a new etag. */
const isStill = (ready: Ready | undefined, service: ServiceRow, caller: CallerActor): ready is Ready =>
  ready?.service.etag === service.etag &&
  ready.service.createdAt === service.createdAt &&
  ready.caller.etag === caller.etag &&
  ready.caller.createdAt === caller.createdAt &&
  ready.caller.admin === caller.admin;

const scopeOf = ({ scopes }: ServiceRow, name: string): readonly string[] | undefined =>
  Object.hasOwn(scopes, name) ? scopes[name] : undefined;

const setScope = async (
  tx: Aggregates,
  deps: PlanDeps,
  caller: CallerActor,
  input: ScopeInput,
  ready: Ready | undefined,
): Promise<Work<ServiceRow>> => {
  const stored = await findService(tx, caller, input);
  const old = scopeOf(stored, input.scope);
  const others = Object.entries(stored.scopes).filter(([name]) => name !== input.scope);
  if (old === undefined && input.rules === undefined) {
    throw new DaypassError('not_found', `there is no named scope \`${input.scope}\``, { field: 'scope' });
  }
  if (old === undefined && others.length >= SCOPES_MAX) {
    throw new DaypassError('failed_precondition', `a service has at most ${SCOPES_MAX}`, { field: 'scope' });
  }
  const rules = isStill(ready, stored, caller)
    ? ready.rules
    : input.rules && (await readScope(tx, deps, caller, { ...input, rules: input.rules, old: old ?? [] }));
  const entries = [...others, ...(rules === undefined ? [] : [[input.scope, rules] as const])];
  const scopes = Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
  const row = { ...stored, scopes, etag: deps.newId(), updatedAt: deps.now() };
  if (isLonger(rules, old)) checkScopesLength(scopes);
  await checkRoom(() => deps.publisher.taken(tx, row.config.pool), stored, row);
  await tx.services.replace(row);
  return { value: row, pools: [row.config.pool], note: noteOf(input) };
};

const findService = async (tx: Read, caller: CallerActor, input: ScopeInput): Promise<ServiceRow> => {
  // Asked before the service is looked up: a caller learns nothing of services that are not its own.
  if (!caller.admin && !(caller.editsScopes && mayMintFor(caller, input.service))) {
    const message = `\`${caller.name}\` may not edit the scopes of \`${input.service}\``;
    throw new DaypassError('permission_denied', message, { field: 'service' });
  }
  const stored = await tx.services.get(input.service);
  if (stored === undefined) {
    throw new DaypassError('not_found', `there is no service \`${input.service}\``, { field: 'service' });
  }
  if (input.etag === '' || input.etag === stored.etag) return stored;
  throw new DaypassError('etag_stale', 'was changed by another; get it again', { field: 'etag' });
};

const isLonger = (rules: readonly string[] = [], old: readonly string[] = []): boolean =>
  rules.join('').length > old.join('').length;

const checkScopesLength = (scopes: ServiceRow['scopes']): void => {
  const problems = createProblems();
  checkLength(Object.values(scopes), 'named scopes', 'rules', problems);
  problems.throwIfAny();
};

type Asked = ScopeInput & { readonly rules: readonly string[]; readonly old: readonly string[] };

const FIELD = 'rules.rules';

const readScope = async (tx: Read, deps: PlanDeps, caller: CallerActor, asked: Asked): Promise<readonly string[]> => {
  const problems = createProblems();
  const expand = await operationLookup(tx, asked.service, asked.rules);
  const rules = await readRulesInTurns(asked.rules, FIELD, undefined, problems, expand);
  problems.throwIfAny();
  // What gets no wider may stay as it is, even where it goes beyond the caller's ceiling.
  if (caller.admin || !(await isWider(asked.old, rules))) return rules;
  await deps.ceilings.check(tx, caller, asked.service, { rules, fieldOf: fieldsOf(asked.rules, FIELD, expand) });
  return rules;
};

const isWider = async (old: readonly string[], rules: readonly string[]): Promise<boolean> => {
  const known = new Set(old);
  const added = rules.filter((rule) => !known.has(rule));
  if (added.length === 0) return false;
  return (await firstGap(await readCeiling(old), added)) !== undefined;
};
