// The registry of services: create, get, list, update, delete; each change published and audited with it.
import type { Aggregates, OperationRow, ServiceRow } from '../store/interface.ts';
import { type CallerActor, mayMintFor } from './actor.ts';
import type { Plan } from './change.ts';
import { cutPage, decodePageToken, encodePageToken, pageSize } from './page.ts';
import type { Release, Releasing } from './release.ts';
import type { Rollout } from './rollout.ts';
import type { ServiceInput } from './service-input.ts';
import { type ServicePlans, type ServiceUpdate, unknownService } from './service-plans.ts';

/** A changed service and how far the change has travelled. */
export type ServiceChange = { readonly row: ServiceRow; readonly rollout: Rollout };

/** The registry. */
export type Services = {
  create(caller: CallerActor, input: ServiceInput, releasing: Releasing): Promise<ServiceChange>;
  /** A caller that is no admin sees the services that it may mint for, without their sealed credential. */
  get(caller: CallerActor, name: string): Promise<ServiceRow>;
  list(
    caller: CallerActor,
    page: { readonly pageSize: number; readonly pageToken: string },
  ): Promise<{ readonly rows: readonly ServiceRow[]; readonly nextPageToken: string }>;
  update(caller: CallerActor, update: ServiceUpdate, releasing: Releasing): Promise<ServiceChange>;
  delete(caller: CallerActor, name: string, etag: string, releasing: Releasing): Promise<Rollout>;
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
  readonly release: Release;
  readonly plans: ServicePlans;
  readonly read: Pick<Aggregates, 'services' | 'operations'>;
};

/** Makes the registry. */
export const createServices = (deps: Deps): Services => ({
  create: async (caller, input, releasing) => changeRow(deps, caller, deps.plans.create(input), releasing),
  get: async (caller, name) => {
    const row = caller.admin || mayMintFor(caller, name) ? await deps.read.services.get(name) : undefined;
    if (row === undefined) throw unknownService(name, 'name');
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
  update: (caller, update, releasing) => changeRow(deps, caller, deps.plans.update(update), releasing),
  delete: async (caller, name, etag, releasing) =>
    (await deps.release(caller, deps.plans.delete(name, etag), releasing)).rollout,
  listOperations: async (caller, { service, contains, ids, ...page }) => {
    if (!mayMintFor(caller, service) || (await deps.read.services.get(service)) === undefined) {
      throw unknownService(service, 'service');
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

const changeRow = async (
  { release }: Deps,
  caller: CallerActor,
  plan: Plan<ServiceRow>,
  releasing: Releasing,
): Promise<ServiceChange> => {
  const { value: row, rollout } = await release(caller, plan, releasing);
  return { row, rollout };
};

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
