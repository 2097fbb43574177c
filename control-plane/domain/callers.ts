// The callers of the control plane: who holds an API key, and what bounds what each may mint.
import { formatApiKey } from '@daypass/core/api-key';
import { DaypassError } from '@daypass/core/errors';
import type { Aggregates, CallerRow, Ceilings } from '../store/interface.ts';
import type { CallerActor } from './actor.ts';
import { applyCallerMask, type CallerInput, readBounds } from './caller-input.ts';
import type { Changes } from './change.ts';
import { timeOfCutOff } from './cut-off.ts';
import { sha256Hex } from './digest.ts';
import { cutPage, decodePageToken, encodePageToken, pageSize } from './page.ts';
import type { Publisher } from './publisher.ts';
import type { Rollout, Rollouts, Waiting } from './rollout.ts';

/** The caller that `init` makes; it can neither be changed nor deleted. */
export const ADMIN = 'admin';

/** What an admin is not bound by. */
export const UNBOUNDED = {
  maxTtlSeconds: undefined,
  clients: undefined,
  subjects: undefined,
  editsScopes: false,
} as const;

/** A caller as it is shown. */
export type KnownCaller = { readonly row: Omit<CallerRow, 'keyHash'>; readonly ceilings: Ceilings };

/** Callers and their keys. */
export type Callers = {
  /** The key is in this answer and nowhere else: only its hash is kept. */
  create(by: CallerActor, input: CallerInput): Promise<{ readonly caller: KnownCaller; readonly apiKey: string }>;
  /** Fewer than asked where their ceilings are long. */
  list(page: {
    readonly pageSize: number;
    readonly pageToken: string;
  }): Promise<{ readonly callers: readonly KnownCaller[]; readonly nextPageToken: string }>;
  /** Whoever asks, with its ceilings. */
  whoAmI(caller: CallerActor): Promise<KnownCaller>;
  /** Says what it may do from now on; tokens that are out stay as they are. */
  update(
    by: CallerActor,
    change: { readonly input: CallerInput; readonly mask: readonly string[]; readonly etag: string },
  ): Promise<KnownCaller>;
  /** Ends the key at once, and cuts off the tokens that it minted. */
  delete(by: CallerActor, name: string, waiting: Waiting): Promise<Rollout>;
};

type Deps = {
  readonly changes: Changes;
  readonly rollouts: Rollouts;
  readonly publisher: Pick<Publisher, 'pools'>;
  readonly read: Pick<Aggregates, 'callers' | 'ceilings'>;
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
    const { value: caller } = await deps.changes.run(by, 'CallerService/Create', async (tx) => {
      const { name } = input;
      const { ceilings, ...bounds } = await readBounds(tx, input, undefined);
      const row = { ...bounds, name, keyHash: sha256Hex(apiKey), etag: deps.newId(), createdAt: deps.now() };
      if ((await tx.callers.get(name)) !== undefined) {
        throw new DaypassError('already_exists', `there is a caller \`${name}\` already`, { field: 'caller.name' });
      }
      await tx.callers.insert(row);
      await tx.ceilings.replaceAll(name, ceilings);
      return { value: { row, ceilings }, pools: [], note: { path: `callers/${name}` } };
    });
    return { caller, apiKey };
  },
  update: async (by, { input, mask, etag }) => {
    const { value } = await deps.changes.run(by, 'CallerService/Update', async (tx) => {
      const stored = await findToChange(tx, input.name, etag);
      const asked = applyCallerMask(inputOf(stored), input, mask);
      const isNew = mask.includes('ceilings') || mask.includes('*');
      const kept = await tx.ceilings.ofCaller(stored.name);
      const { ceilings, ...bounds } = await readBounds(tx, asked, isNew ? undefined : kept);
      const row = { ...stored, ...bounds, etag: deps.newId() };
      await tx.callers.put(row);
      await tx.ceilings.replaceAll(row.name, ceilings);
      return { value: { row, ceilings }, pools: [], note: { path: `callers/${row.name}` } };
    });
    return value;
  },
  list: async (page) => {
    const size = pageSize(page.pageSize);
    const [cursor] = decodePageToken('callers', page.pageToken, ['string']) ?? [];
    const after = typeof cursor === 'string' ? cursor : undefined;
    const cut = cutPage(await deps.read.callers.list({ after, limit: size + 1 }), size);
    const callers = await withCeilings(deps.read, cut.page);
    const last = callers.length < cut.page.length ? callers.at(-1)?.row : cut.last;
    return { callers, nextPageToken: last === undefined ? '' : encodePageToken('callers', [last.name]) };
  },
  whoAmI: async (caller) => ({ row: caller, ceilings: await deps.read.ceilings.ofCaller(caller.name) }),
  delete: async (by, name, { waitMs, signal }) => {
    if (name === ADMIN) {
      throw new DaypassError('failed_precondition', 'the built-in admin cannot be deleted', { field: 'name' });
    }
    const { published } = await deps.changes.run(by, 'CallerService/Delete', async (tx) => {
      if (!(await tx.callers.delete(name))) throw unknown(name, 'name');
      await tx.ceilings.replaceAll(name, {});
      const entry = { caller: name, minted_before: (await timeOfCutOff(tx, deps.now())) / 1000 };
      await tx.cutOffs.insert({ id: deps.newId(), entry, createdAt: deps.now() });
      return { value: undefined, pools: deps.publisher.pools(), note: { path: `callers/${name}` } };
    });
    return deps.rollouts.wait(published, waitMs, signal);
  },
});

const unknown = (name: string, field: string): DaypassError =>
  new DaypassError('not_found', `there is no caller \`${name.slice(0, 63)}\``, { field });

const findToChange = async (tx: Aggregates, name: string, etag: string): Promise<CallerRow> => {
  if (name === ADMIN) {
    throw new DaypassError('failed_precondition', 'the built-in admin cannot be changed', { field: 'caller.name' });
  }
  const stored = await tx.callers.get(name);
  if (stored === undefined) throw unknown(name, 'caller.name');
  if (etag === '' || etag === stored.etag) return stored;
  throw new DaypassError('etag_stale', 'was changed by another; get it again', { field: 'caller.etag' });
};

/** A stored caller as one would ask for it, but for its ceilings. */
const inputOf = ({ name, services, admin, maxTtlSeconds, clients, subjects, editsScopes }: CallerRow): CallerInput => ({
  ...{ name, services, admin, clients, subjects, editsScopes },
  ceilings: new Map(),
  maxTtlMs: maxTtlSeconds === undefined ? undefined : maxTtlSeconds * 1000,
});

/** About so much is in one answer. */
const LIST_CHARS = 1024 * 1024;

const withCeilings = async (
  read: Pick<Aggregates, 'ceilings'>,
  rows: readonly CallerRow[],
): Promise<readonly KnownCaller[]> => {
  const callers: KnownCaller[] = [];
  let chars = 0;
  for (const row of rows) {
    if (chars > LIST_CHARS) return callers;
    const ceilings = await read.ceilings.ofCaller(row.name);
    for (const rules of Object.values(ceilings)) for (const rule of rules) chars += rule.length;
    callers.push({ row, ceilings });
  }
  return callers;
};

const PAGE = 500;

/** Takes a service out of every caller's list and ceilings. */
export const withdrawService = async (tx: Aggregates, service: string, newId: () => string): Promise<void> => {
  await tx.ceilings.deleteService(service);
  let after: string | undefined;
  for (;;) {
    const rows = await tx.callers.list({ after, limit: PAGE });
    for (const row of rows) {
      if (!row.services.includes(service)) continue;
      await tx.callers.put({ ...row, services: row.services.filter((name) => name !== service), etag: newId() });
    }
    after = rows.at(-1)?.name;
    if (rows.length < PAGE) return;
  }
};
