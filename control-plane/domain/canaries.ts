// Changes that some nodes of a pool get first: begun, watched, and then promoted or taken back.
import { DaypassError, describe } from '@daypass/core/errors';
import { MAX_SEAL_IN_SNAPSHOT } from '@daypass/core/seal';
import type { Aggregates, CanaryRow } from '../store/interface.ts';
import type { CallerActor } from './actor.ts';
import { type CanaryPlan, chooseNodes, isDue, refusalBy } from './canary-nodes.ts';
import { type CanaryTallies, harmOf, talliesOf } from './canary-verdict.ts';
import type { Changes, Plan, Work } from './change.ts';
import type { Published } from './published.ts';
import type { Rollout, Rollouts, Waiting } from './rollout.ts';
import { refuseBesideCanary, refuseNameOfCanary, runningCanary } from './running-canary.ts';
import { checkSealForm, checkSealKey } from './seal-form.ts';
import type { ServiceRules } from './service-config.ts';
import { removeService } from './service-plans.ts';
import type { Try } from './trial.ts';

/** A canary, without what it changes. */
export type Canary = Omit<CanaryRow, 'change'>;
/** A canary and how it does. */
export type CanaryState = { readonly canary: Canary; readonly tallies: CanaryTallies };

/** Which canary: of a pool, of this id where it is not empty. */
export type WhichCanary = { readonly pool: string; readonly id: string };
/** How a canary ended. */
export type CanaryEnd = { readonly canary: Canary; readonly rollout: Rollout };

/** The canaries. */
export type Canaries = {
  /** Gives a change to some nodes; what was published is for these alone. Throws what making it would throw. */
  begin<T>(
    caller: CallerActor,
    plan: Plan<T>,
    asked: CanaryPlan,
  ): Promise<{ readonly value: T; readonly published: readonly Published[] }>;
  /** The newest of each pool, running or ended. */
  list(): Promise<readonly CanaryState[]>;
  /** Makes the change for all. Throws `not_found` where none runs. */
  promote(caller: CallerActor, which: WhichCanary, waiting: Waiting): Promise<CanaryEnd>;
  /** Gives its nodes what all others have. Throws `not_found` where none runs. */
  takeBack(caller: CallerActor, which: WhichCanary, waiting: Waiting): Promise<CanaryEnd>;
  /** Takes back what does harm, and promotes what is due. Every replica may do so: the first one does. */
  look(): Promise<void>;
};

type Deps = {
  readonly changes: Pick<Changes, 'run' | 'own'>;
  readonly rollouts: Pick<Rollouts, 'wait'>;
  readonly attempt: Try;
  /** Outside a transaction. */
  readonly read: Pick<Aggregates, 'audit' | 'canaries' | 'nodes'>;
  /** Milliseconds. */
  readonly now: () => number;
  readonly newId: () => string;
  /** Key ids that a pool's credentials may be sealed to; undefined: there is no such pool. */
  readonly sealingKids: ServiceRules['sealingKids'];
  /** Tells the operator what became of one by itself. */
  readonly tell: (message: string, canary: Canary, why: string) => void;
};

const PROMOTE = 'ReleaseService/Promote';
const TAKE_BACK = 'ReleaseService/TakeBack';
/** How far back a canary's nodes are looked at for what is usual. */
const BEFORE_MS = 24 * 60 * 60 * 1000;
/** Clocks of nodes may differ by this much. */
const CLOCKS_MS = 60_000;

/** Makes the keeper of canaries. */
export const createCanaries = (deps: Deps): Canaries => {
  const { changes, read, now } = deps;

  const stateOf = async (canary: Canary): Promise<CanaryState> => {
    const { service, version, startedAt, endedAt } = canary;
    const span = { since: startedAt - CLOCKS_MS, until: (endedAt ?? now()) + CLOCKS_MS };
    return { canary, tallies: talliesOf(canary, await read.audit.tally({ service, version, ...span })) };
  };

  const end = async (
    caller: CallerActor,
    which: WhichCanary,
    { waitMs, signal }: Waiting,
    ending: Ending,
  ): Promise<CanaryEnd> => {
    const { value: canary, published } = await changes.run(caller, ending.method, async (tx) => {
      const running = await runningCanary(tx, which.pool);
      if (running === undefined || (which.id !== '' && which.id !== running.id)) throw noCanary(which);
      return endCanary(tx, running, ending, deps);
    });
    return { canary, rollout: await deps.rollouts.wait(published, waitMs, signal) };
  };

  const endByItself = async ({ pool, id }: Canary, ending: Ending): Promise<void> => {
    let ended: Canary | undefined;
    await changes.own(ending.method, async (tx) => {
      const running = await runningCanary(tx, pool);
      if (running?.id !== id) return undefined;
      const work = await endCanary(tx, running, ending, deps);
      ended = work.value;
      return { ...work, value: undefined };
    });
    if (ended !== undefined) deps.tell(`a canary was ${ending.word} by itself`, ended, ending.why);
  };

  /** What was good when it began may not be by now. */
  const promoteByItself = async (canary: Canary): Promise<void> => {
    try {
      await endByItself(canary, { ...PROMOTED, why: 'promote_after' });
    } catch (error) {
      if (!(error instanceof DaypassError) || describe(error.code).owner === 'platform') throw error;
      await endByItself(canary, { ...TAKEN_BACK, why: `it could not be promoted: ${error.message}` });
    }
  };

  return {
    begin: async (caller, plan, asked) => {
      if (!caller.admin) throw new DaypassError('permission_denied', 'is for admins', { field: 'canary' });
      const { value, note, services } = await deps.attempt(caller, plan);
      const [tried] = services;
      const pool = (tried?.after ?? tried?.before)?.config.pool;
      if (tried === undefined || pool === undefined || services.length > 1) {
        throw new DaypassError('failed_precondition', 'only a change of one service can be a canary', {
          field: 'canary',
        });
      }
      const [at, service] = [now(), tried.name];
      const usual = await read.audit.tally({ service, since: at - BEFORE_MS, until: at, version: 0 });
      const { published } = await changes.run(caller, plan.method, async (tx) => {
        const stored = await tx.services.get(service);
        if (stored?.etag !== tried.before?.etag || stored?.createdAt !== tried.before?.createdAt) {
          throw new DaypassError('etag_stale', 'was changed by another; get it again', { field: 'service.etag' });
        }
        await refuseBesideCanary(tx, pool);
        await refuseNameOfCanary(tx, { name: service, pool }, 'service.name');
        const nodes = chooseNodes(await tx.nodes.ofPool(pool), asked, at);
        const own = usual.filter(({ node }) => nodes.includes(node));
        const last = await tx.snapshots.latest(pool);
        await tx.canaries.put({
          ...{ pool, id: deps.newId(), nodes, service, caller: caller.name, method: plan.method, subject: note.path },
          // The next one is for all, the one after it for these nodes.
          version: (last?.version ?? 0) + 2,
          startedAt: at,
          promoteAt: asked.promoteAfterMs === undefined ? undefined : at + asked.promoteAfterMs,
          requestsBefore: own.reduce((sum, { requests }) => sum + requests, 0),
          badBefore: own.reduce((sum, { bad }) => sum + bad, 0),
          ...{ endedAt: undefined, ending: '', why: '' },
          change: { before: tried.before?.etag ?? '', after: tried.after, operations: tried.operations },
        });
        return { value: undefined, pools: [pool], note: { ...note, reason: 'canary' } };
      });
      return { value, published: published.filter(({ nodes }) => nodes !== undefined) };
    },
    list: async () => Promise.all((await read.canaries.list()).map(stateOf)),
    promote: (caller, which, waiting) => end(caller, which, waiting, { ...PROMOTED, why: '' }),
    takeBack: (caller, which, waiting) => end(caller, which, waiting, { ...TAKEN_BACK, why: '' }),
    look: async () => {
      for (const canary of await read.canaries.list()) {
        if (canary.endedAt !== undefined) continue;
        const nodes = (await read.nodes.ofPool(canary.pool)).filter(({ name }) => canary.nodes.includes(name));
        const harm = refusalBy(nodes, canary) ?? harmOf((await stateOf(canary)).tallies);
        if (harm !== undefined) await endByItself(canary, { ...TAKEN_BACK, why: harm });
        else if (isDue(canary, nodes, now())) await promoteByItself(canary);
      }
    },
  };
};

type Ending = {
  readonly method: string;
  readonly ending: 'promoted' | 'taken_back';
  readonly word: string;
  readonly why: string;
};
const PROMOTED = { method: PROMOTE, ending: 'promoted', word: 'promoted' } as const;
const TAKEN_BACK = { method: TAKE_BACK, ending: 'taken_back', word: 'taken back' } as const;

/** Ends it; the next snapshot is for all nodes, and is built with the change or without. */
const endCanary = async (
  tx: Aggregates,
  canary: CanaryRow,
  { ending, why }: Ending,
  deps: Pick<Deps, 'now' | 'newId' | 'sealingKids'>,
): Promise<Work<Canary>> => {
  const { change, ...rest } = canary;
  const ended = { ...rest, endedAt: deps.now(), ending, why };
  await tx.canaries.put({ ...ended, change: {} });
  if (ending === 'promoted') await applyChange(tx, canary, deps);
  const note = { path: canary.subject, service: canary.service, reason: why === '' ? 'canary' : `canary: ${why}` };
  return { value: ended, pools: [canary.pool], note };
};

const applyChange = async (
  tx: Aggregates,
  { pool, service, change: { before, after, operations } }: CanaryRow,
  deps: Pick<Deps, 'now' | 'newId' | 'sealingKids'>,
): Promise<void> => {
  const stored = await tx.services.get(service);
  // Nothing that was changed meanwhile is overwritten: an older release beside knows of no canary.
  if (before !== undefined && before !== (stored?.etag ?? ''))
    throw new DaypassError('failed_precondition', `the service \`${service}\` was changed since: take the canary back`);
  if (after === undefined) return removeService(tx, service, deps);
  // A key may have been retired since.
  const { sealedCredential } = after;
  if (sealedCredential !== undefined) {
    checkSealForm(sealedCredential, deps.sealingKids(pool) ?? new Set(), MAX_SEAL_IN_SNAPSHOT);
    await checkSealKey(tx, sealedCredential, 'service.sealed_credential');
  }
  // A service is there from when tokens can be minted for it: those of an earlier one of its name stay cut off.
  const row = { ...after, updatedAt: deps.now() };
  await (stored === undefined ? tx.services.insert({ ...row, createdAt: deps.now() }) : tx.services.replace(row));
  if (operations !== undefined) await tx.operations.replaceAll(service, operations);
};

const noCanary = ({ pool, id }: WhichCanary): DaypassError =>
  id === ''
    ? new DaypassError('not_found', `no canary runs in the pool \`${pool.slice(0, 63)}\``, { field: 'pool' })
    : new DaypassError('not_found', 'that canary does not run', { field: 'id' });
