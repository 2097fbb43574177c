// The callers of the control plane: who holds an API key, and which services each may mint for.
import { formatApiKey } from '@daypass/core/api-key';
import { DaypassError } from '@daypass/core/errors';
import type { Aggregates, CallerRow } from '../store/interface.ts';
import type { CallerActor } from './actor.ts';
import type { Changes } from './change.ts';
import { sha256Hex } from './digest.ts';
import { cutPage, decodePageToken, encodePageToken, pageSize } from './page.ts';
import type { Publisher } from './publisher.ts';
import type { Rollout, Rollouts, Waiting } from './rollout.ts';

/** The caller that `init` makes; it cannot be deleted. */
export const ADMIN = 'admin';

/** Callers and their keys. */
export type Callers = {
  /** The key is in this answer and nowhere else: only its hash is kept. */
  create(
    by: CallerActor,
    input: { readonly name: string; readonly services: readonly string[]; readonly admin: boolean },
  ): Promise<{ readonly row: CallerRow; readonly apiKey: string }>;
  list(page: {
    readonly pageSize: number;
    readonly pageToken: string;
  }): Promise<{ readonly rows: readonly CallerRow[]; readonly nextPageToken: string }>;
  /** Ends the key at once, and cuts off the tokens that it minted. */
  delete(by: CallerActor, name: string, waiting: Waiting): Promise<Rollout>;
};

type Deps = {
  readonly changes: Changes;
  readonly rollouts: Rollouts;
  readonly publisher: Pick<Publisher, 'pools'>;
  readonly read: Pick<Aggregates, 'callers'>;
  /** Milliseconds. */
  readonly now: () => number;
  readonly newId: () => string;
  /** Random bytes. */
  readonly randomBytes: (length: number) => Uint8Array;
};

/** Makes the keeper of callers. */
export const createCallers = (deps: Deps): Callers => ({
  create: async (by, input) => {
    const apiKey = formatApiKey(deps.randomBytes(32));
    const { value: row } = await deps.changes.run(by, 'CallerService/Create', async (tx) => {
      await checkServices(tx, input.services);
      const { name, admin } = input;
      const services = [...new Set(input.services)].sort();
      const row = { name, admin, services, keyHash: sha256Hex(apiKey), createdAt: deps.now() };
      if ((await tx.callers.get(name)) !== undefined) {
        throw new DaypassError('already_exists', `there is a caller \`${name}\` already`, { field: 'caller.name' });
      }
      await tx.callers.insert(row);
      return { value: row, pools: [], note: { path: `callers/${name}` } };
    });
    return { row, apiKey };
  },
  list: async (page) => {
    const size = pageSize(page.pageSize);
    const [cursor] = decodePageToken('callers', page.pageToken, ['string']) ?? [];
    const after = typeof cursor === 'string' ? cursor : undefined;
    const cut = cutPage(await deps.read.callers.list({ after, limit: size + 1 }), size);
    const nextPageToken = cut.last === undefined ? '' : encodePageToken('callers', [cut.last.name]);
    return { rows: cut.page, nextPageToken };
  },
  delete: async (by, name, { waitMs, signal }) => {
    if (name === ADMIN) {
      throw new DaypassError('failed_precondition', 'the built-in admin cannot be deleted', { field: 'name' });
    }
    const { published } = await deps.changes.run(by, 'CallerService/Delete', async (tx) => {
      if (!(await tx.callers.delete(name))) {
        throw new DaypassError('not_found', `there is no caller \`${name.slice(0, 63)}\``, { field: 'name' });
      }
      const entry = { caller: name, minted_before: deps.now() / 1000 };
      await tx.cutOffs.insert({ id: deps.newId(), entry, createdAt: deps.now() });
      return { value: undefined, pools: deps.publisher.pools, note: { path: `callers/${name}` } };
    });
    return deps.rollouts.wait(published, waitMs, signal);
  },
});

const checkServices = async (tx: Aggregates, services: readonly string[]): Promise<void> => {
  for (const [i, service] of services.entries()) {
    if ((await tx.services.get(service)) !== undefined) continue;
    const message = `there is no service \`${service.slice(0, 63)}\``;
    throw new DaypassError('not_found', message, { field: `caller.services[${i}]` });
  }
};

const PAGE = 500;

/** Takes a service out of every caller's list. */
export const withdrawService = async (tx: Aggregates, service: string): Promise<void> => {
  let after: string | undefined;
  for (;;) {
    const rows = await tx.callers.list({ after, limit: PAGE });
    for (const row of rows) {
      if (!row.services.includes(service)) continue;
      await tx.callers.put({ ...row, services: row.services.filter((name) => name !== service) });
    }
    after = rows.at(-1)?.name;
    if (rows.length < PAGE) return;
  }
};
