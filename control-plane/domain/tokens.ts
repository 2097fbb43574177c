// Lists minted tokens; minting, introspecting and revoking have files of their own.
import type { Aggregates, Page, TokenCursor, TokenFilter, TokenRow } from '../store/interface.ts';
import { type CallerActor, ownsToken } from './actor.ts';
import { cutPage, decodePageToken, encodePageToken, pageSize } from './page.ts';
import { lookAtStanding } from './standing.ts';

/** What to list; empty texts are not set. */
export type TokenListInput = {
  readonly pageSize: number;
  readonly pageToken: string;
  readonly service: string;
  readonly client: string;
  readonly activeOnly: boolean;
};

/** A page of tokens, newest first. */
export type TokenPage = { readonly rows: readonly TokenRow[]; readonly nextPageToken: string };

type Deps = {
  readonly read: Pick<Aggregates, 'tokens' | 'services' | 'cutOffs'>;
  /** Milliseconds. */
  readonly now: () => number;
};

/** Makes List: an admin sees every token, another caller those that it minted. */
export const createTokenList =
  (deps: Deps) =>
  async (caller: CallerActor, input: TokenListInput): Promise<TokenPage> => {
    const size = pageSize(input.pageSize);
    const [createdAt, jti] = decodePageToken('tokens', input.pageToken, ['number', 'string']) ?? [];
    const after = typeof createdAt === 'number' && typeof jti === 'string' ? { createdAt, jti } : undefined;
    const filter: TokenFilter = {
      ...(input.service === '' ? {} : { service: input.service }),
      ...(input.client === '' ? {} : { client: input.client }),
      ...(caller.admin ? {} : { caller: caller.name }),
      ...(input.activeOnly ? { aliveAt: deps.now() } : {}),
    };
    const standing = input.activeOnly ? await lookAtStanding(deps.read, deps.now()) : undefined;
    const kept = async (rows: readonly TokenRow[]): Promise<readonly TokenRow[]> => {
      const own = rows.filter((row) => ownsToken(caller, row));
      const falls = await standing?.(own);
      return own.filter(({ jti }) => falls?.get(jti) === undefined);
    };
    const { page, last } = cutPage(await collect(deps.read, filter, kept, { after, limit: size + 1 }), size);
    const nextPageToken = last === undefined ? '' : encodePageToken('tokens', [last.createdAt, last.jti]);
    return { rows: page, nextPageToken };
  };

/** Reads on until the page is full: tokens that do not stand are left out where only living ones are wanted. */
const collect = async (
  read: Deps['read'],
  filter: TokenFilter,
  keep: (rows: readonly TokenRow[]) => Promise<readonly TokenRow[]>,
  page: Page<TokenCursor>,
): Promise<readonly TokenRow[]> => {
  const kept: TokenRow[] = [];
  let after = page.after;
  for (;;) {
    const rows = await read.tokens.list(filter, { after, limit: page.limit });
    kept.push(...(await keep(rows)));
    after = rows.at(-1);
    if (rows.length < page.limit || kept.length >= page.limit) return kept;
  }
};
