// Changes of services as plans: checked against the store in a transaction, written there, nothing published yet.
import { DaypassError } from '@daypass/core/errors';
import type { Aggregates, ServiceRow } from '../store/interface.ts';
import { withdrawService } from './callers.ts';
import type { Plan, Work } from './change.ts';
import { timeOfCutOff } from './cut-off.ts';
import { lookupAmong, operationLookup } from './operations.ts';
import { servicesOf } from './pool-services.ts';
import type { Publisher } from './publisher.ts';
import { checkRoom } from './room.ts';
import { refuseNameOfCanary } from './running-canary.ts';
import { checkSealKey } from './seal-form.ts';
import { type CheckedService, checkService, type ServiceRules } from './service-config.ts';
import { inputOf, type ServiceInput } from './service-input.ts';
import { applyMask } from './service-mask.ts';

/** Which fields of a service are to be changed; an empty etag stands for any. */
export type ServiceUpdate = { readonly input: ServiceInput; readonly mask: readonly string[]; readonly etag: string };

/** Plans of the registry. Their work throws what is wrong by its field. */
export type ServicePlans = {
  create(input: ServiceInput): Plan<ServiceRow>;
  update(update: ServiceUpdate): Plan<ServiceRow>;
  /** Its value is the service as it was. */
  delete(name: string, etag: string): Plan<ServiceRow>;
};

type Deps = {
  readonly publisher: Pick<Publisher, 'taken'>;
  readonly rules: ServiceRules;
  /** Milliseconds. */
  readonly now: () => number;
  readonly newId: () => string;
};

/** Makes the plans. Those of `create` throw at once for an input that no store could make good. */
export const createServicePlans = (deps: Deps): ServicePlans => ({
  create: (input) => {
    const { service: checked, operations = [] } = checkService(input, deps.rules, lookupAmong([]));
    return {
      method: 'ServiceRegistry/Create',
      work: async (tx) => {
        const at = deps.now();
        const row = { ...checked, etag: deps.newId(), createdAt: at, updatedAt: at };
        if ((await tx.services.get(row.name)) !== undefined) throw taken(row.name);
        await refuseNameOfCanary(tx, { name: row.name, pool: row.config.pool }, 'service.name');
        await checkSealKey(tx, checked.sealedCredential, 'service.sealed_credential');
        await checkDefault(tx, checked);
        await checkRoom(() => deps.publisher.taken(tx, row.config.pool), undefined, row);
        await tx.services.insert(row);
        await tx.operations.replaceAll(row.name, operations);
        return changed(row);
      },
    };
  },
  update: ({ input, mask, etag }) => ({
    method: 'ServiceRegistry/Update',
    work: async (tx) => {
      const stored = await fresh(tx, input.name, etag, 'service');
      const asked = applyMask(inputOf(stored), input, mask);
      const lookup = await operationLookup(tx, stored.name, [...asked.scopes.values()].flat());
      const { service: checked, operations } = checkService(asked, deps.rules, lookup);
      await checkSealKey(tx, checked.sealedCredential, 'service.sealed_credential');
      await checkDefault(tx, checked);
      const row = { ...checked, etag: deps.newId(), createdAt: stored.createdAt, updatedAt: deps.now() };
      await checkRoom(() => deps.publisher.taken(tx, row.config.pool), stored, row);
      await tx.services.replace(row);
      if (operations !== undefined) await tx.operations.replaceAll(row.name, operations);
      return changed(row);
    },
  }),
  delete: (name, etag) => ({
    method: 'ServiceRegistry/Delete',
    work: async (tx) => {
      const stored = await fresh(tx, name, etag, '');
      await removeService(tx, name, deps);
      return changed(stored);
    },
  }),
});

/** Removes a service with all that is its own; a later one of the same name finds neither old tokens nor old permissions. */
export const removeService = async (
  tx: Aggregates,
  name: string,
  { now, newId }: Pick<Deps, 'now' | 'newId'>,
): Promise<void> => {
  await tx.services.delete(name);
  await tx.operations.deleteAll(name);
  const entry = { service: name, minted_before: (await timeOfCutOff(tx, now())) / 1000 };
  await tx.cutOffs.insert({ id: newId(), entry, createdAt: now() });
  await withdrawService(tx, name, newId);
};

const changed = (row: ServiceRow): Work<ServiceRow> => ({
  value: row,
  pools: [row.config.pool],
  note: { path: `services/${row.name}`, service: row.name, credentialId: row.credentialId ?? '' },
});

const fresh = async (tx: Aggregates, name: string, etag: string, path: '' | 'service'): Promise<ServiceRow> => {
  const field = (own: string): string => (path === '' ? own : `${path}.${own}`);
  const stored = await tx.services.get(name);
  if (stored === undefined) throw unknownService(name, field('name'));
  if (etag !== '' && etag !== stored.etag) {
    throw new DaypassError('etag_stale', 'was changed by another; get it again', { field: field('etag') });
  }
  return stored;
};

/** One service of a pool at most is served at `/`. */
const checkDefault = async (tx: Aggregates, { name, config }: CheckedService): Promise<void> => {
  if (!config.is_default) return;
  for await (const other of servicesOf(tx, config.pool)) {
    if (!other.config.is_default || other.name === name) continue;
    const message = `\`${other.name}\` is the default service of the pool \`${config.pool}\` already`;
    throw new DaypassError('failed_precondition', message, { field: 'service.is_default' });
  }
};

const taken = (name: string): DaypassError =>
  new DaypassError('already_exists', `there is a service \`${name}\` already`, { field: 'service.name' });

/** There is no such service. */
export const unknownService = (name: string, field: string): DaypassError =>
  new DaypassError('not_found', `there is no service \`${name.slice(0, 63)}\``, { field });
