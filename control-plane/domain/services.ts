// The registry of services: create, get, list, update, delete; each change published and audited with it.
import { DaypassError } from '@daypass/core/errors';
import type { Aggregates, OperationRow, ServiceRow } from '../store/interface.ts';
import { type CallerActor, mayMintFor } from './actor.ts';
import { withdrawService } from './callers.ts';
import type { Changes, Work } from './change.ts';
import { timeOfCutOff } from './cut-off.ts';
import { lookupAmong, operationLookup } from './operations.ts';
import { cutPage, decodePageToken, encodePageToken, pageSize } from './page.ts';
import { servicesOf } from './pool-services.ts';
import type { Publisher } from './publisher.ts';
import type { Rollout, Rollouts, Waiting } from './rollout.ts';
import { checkRoom } from './room.ts';
import { type CheckedService, checkService, type ServiceRules } from './service-config.ts';
import { inputOf, type ServiceInput } from './service-input.ts';
import { applyMask } from './service-mask.ts';

/** A changed service and how far the change has travelled. */
export type ServiceChange = { readonly row: ServiceRow; readonly rollout: Rollout };

/** The registry. */
export type Services = {
  create(caller: CallerActor, input: ServiceInput, waiting: Waiting): Promise<ServiceChange>;
  /** A caller that is no admin sees the services that it may mint for, without their sealed credential. */
  get(caller: CallerActor, name: string): Promise<ServiceRow>;
  list(
    caller: CallerActor,
    page: { readonly pageSize: number; readonly pageToken: string },
  ): Promise<{ readonly rows: readonly ServiceRow[]; readonly nextPageToken: string }>;
  update(
    caller: CallerActor,
    change: { readonly input: ServiceInput; readonly mask: readonly string[]; readonly etag: string },
    waiting: Waiting,
  ): Promise<ServiceChange>;
  delete(caller: CallerActor, name: string, etag: string, waiting: Waiting): Promise<Rollout>;
  /** A caller sees those of the services that it may mint for. */
  listOperations(
    caller: CallerActor,
    asked: OperationsAsked,
  ): Promise<{ readonly rows: readonly OperationRow[]; readonly nextPageToken: string }>;
};

/** Which operations are asked for; empty texts and lists ask for all. */
export type OperationsAsked = {
  readonly service: string;
  readonly contains: string;
  readonly ids: readonly string[];
  readonly pageSize: number;
  readonly pageToken: string;
};

type Deps = {
  readonly changes: Changes;
  readonly rollouts: Rollouts;
  readonly publisher: Pick<Publisher, 'taken'>;
  readonly rules: ServiceRules;
  readonly read: Pick<Aggregates, 'services' | 'operations'>;
  /** Milliseconds. */
  readonly now: () => number;
  readonly newId: () => string;
};

/** Makes the registry. */
export const createServices = (deps: Deps): Services => ({
  create: async (caller, input, { waitMs, signal }) => {
    const { service: checked, operations = [] } = checkService(input, deps.rules, lookupAmong([]));
    const { value: row, published } = await deps.changes.run(caller, 'ServiceRegistry/Create', async (tx) => {
      const at = deps.now();
      const row = { ...checked, etag: deps.newId(), createdAt: at, updatedAt: at };
      if ((await tx.services.get(row.name)) !== undefined) throw taken(row.name);
      await checkDefault(tx, checked);
      await checkRoom(() => deps.publisher.taken(tx, row.config.pool), undefined, row);
      await tx.services.insert(row);
      await tx.operations.replaceAll(row.name, operations);
      return changed(row);
    });
    return { row, rollout: await deps.rollouts.wait(published, waitMs, signal) };
  },
  get: async (caller, name) => {
    const row = caller.admin || mayMintFor(caller, name) ? await deps.read.services.get(name) : undefined;
    if (row === undefined) throw unknown(name, 'name');
    return seenBy(caller, row);
  },
  list: async (caller, page) => {
    const size = pageSize(page.pageSize);
    const [cursor] = decodePageToken('services', page.pageToken, ['string']) ?? [];
    const after = typeof cursor === 'string' ? cursor : undefined;
    const rows = await readRows(deps.read, caller, after, size + 1);
    const cut = cutPage(rows, size);
    const nextPageToken = cut.last === undefined ? '' : encodePageToken('services', [cut.last.name]);
    return { rows: cut.page.map((row) => seenBy(caller, row)), nextPageToken };
  },
  update: async (caller, { input, mask, etag }, { waitMs, signal }) => {
    const { value: row, published } = await deps.changes.run(caller, 'ServiceRegistry/Update', async (tx) => {
      const stored = await fresh(tx, input.name, etag, 'service');
      const asked = applyMask(inputOf(stored), input, mask);
      const lookup = await operationLookup(tx, stored.name, [...asked.scopes.values()].flat());
      const { service: checked, operations } = checkService(asked, deps.rules, lookup);
      await checkDefault(tx, checked);
      const row = { ...checked, etag: deps.newId(), createdAt: stored.createdAt, updatedAt: deps.now() };
      await checkRoom(() => deps.publisher.taken(tx, row.config.pool), stored, row);
      await tx.services.replace(row);
      if (operations !== undefined) await tx.operations.replaceAll(row.name, operations);
      return changed(row);
    });
    return { row, rollout: await deps.rollouts.wait(published, waitMs, signal) };
  },
  delete: async (caller, name, etag, { waitMs, signal }) => {
    const { published } = await deps.changes.run(caller, 'ServiceRegistry/Delete', async (tx) => {
      const stored = await fresh(tx, name, etag, '');
      await tx.services.delete(name);
      await tx.operations.deleteAll(name);
      // A later service of the same name must find neither old tokens nor old permissions.
      const entry = { service: name, minted_before: (await timeOfCutOff(tx, deps.now())) / 1000 };
      await tx.cutOffs.insert({ id: deps.newId(), entry, createdAt: deps.now() });
      await withdrawService(tx, name, deps.newId);
      return changed(stored);
    });
    return deps.rollouts.wait(published, waitMs, signal);
  },
  listOperations: async (caller, { service, contains, ids, ...page }) => {
    if (!mayMintFor(caller, service) || (await deps.read.services.get(service)) === undefined) {
      throw unknown(service, 'service');
    }
    const size = pageSize(page.pageSize);
    const [cursor] = decodePageToken('operations', page.pageToken, ['string']) ?? [];
    const after = typeof cursor === 'string' ? cursor : undefined;
    const filter = { ...(contains === '' ? {} : { contains }), ...(ids.length === 0 ? {} : { ids }) };
    const cut = cutPage(await deps.read.operations.list(service, filter, { after, limit: size + 1 }), size);
    const nextPageToken = cut.last === undefined ? '' : encodePageToken('operations', [cut.last.id]);
    return { rows: cut.page, nextPageToken };
  },
});

const changed = (row: ServiceRow): Work<ServiceRow> => ({
  value: row,
  pools: [row.config.pool],
  note: { path: `services/${row.name}`, service: row.name, credentialId: row.credentialId ?? '' },
});

/** A service as a caller may see it. */
export const seenBy = (caller: CallerActor, row: ServiceRow): ServiceRow =>
  caller.admin ? row : { ...row, sealedCredential: undefined };

const readRows = async (
  { services }: Deps['read'],
  caller: CallerActor,
  after: string | undefined,
  limit: number,
): Promise<readonly ServiceRow[]> => {
  if (caller.admin) return services.list({ after, limit });
  const rows: ServiceRow[] = [];
  for (const name of [...new Set(caller.services)].sort()) {
    if ((after !== undefined && name <= after) || rows.length >= limit) continue;
    const row = await services.get(name);
    if (row !== undefined) rows.push(row);
  }
  return rows;
};

const fresh = async (tx: Aggregates, name: string, etag: string, path: '' | 'service'): Promise<ServiceRow> => {
  const field = (own: string): string => (path === '' ? own : `${path}.${own}`);
  const stored = await tx.services.get(name);
  if (stored === undefined) throw unknown(name, field('name'));
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

const unknown = (name: string, field: string): DaypassError =>
  new DaypassError('not_found', `there is no service \`${name.slice(0, 63)}\``, { field });
