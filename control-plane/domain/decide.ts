// Decides a recorded request as a data plane would, by what the audit keeps of it; says so where that is not enough.
import { MAX_PATH } from '@daypass/core/audit';
import type { ErrorCode } from '@daypass/core/errors';
import type { AuditEventRow, ServiceRow, TokenRow } from '../store/interface.ts';
import type { RuleLists } from './rule-lists.ts';

/** A service, with the named scopes that are asked for. */
export type AskedService = {
  readonly row: ServiceRow;
  /** Undefined: there is no such scope. */
  readonly scope: (name: string) => Promise<RuleLists | undefined>;
};

/** A token that is asked about: its row, those that it was exchanged from, and its own rules. */
export type AskedToken = {
  readonly row: TokenRow;
  /** Undefined: it is not known any more. */
  readonly parents: readonly (TokenRow | undefined)[];
  readonly own: RuleLists;
  /** Names of the scopes that it carries. */
  readonly scopes: readonly string[];
};

/** Under which service and by which token. */
export type Asked = {
  readonly service: AskedService | undefined;
  /** Undefined: none was shown. */
  readonly token: AskedToken | undefined;
};

/** What would be decided. */
export type Decision =
  | { readonly kind: 'allowed'; readonly rule: string }
  | { readonly kind: 'refused'; readonly code: ErrorCode }
  | { readonly kind: 'unknown'; readonly rule: string; readonly why: string };

/** In the order of the data plane: service, encoded slashes, token, client, lifetime, rules. What the seal says is not known here. */
export const decide = async (event: AuditEventRow, { service, token }: Asked): Promise<Decision> => {
  if (service === undefined) return refused('service_unknown');
  const { row } = service;
  const { config } = row;
  if (/%2f/i.test(event.path) && config.encoded_slashes !== true) return refused('target_ambiguous');
  if (config.anonymous) return { kind: 'allowed', rule: '' };
  if (token === undefined) return refused('token_missing');
  // A token of an earlier service of that name was cut off with it.
  if (token.row.createdAt < row.createdAt) return refused('token_revoked');
  const line = [token.row, ...token.parents];
  if (line.some((one) => one !== undefined && config.clients?.includes(one.client) === false)) {
    return refused('client_refused');
  }
  if (lifetimeMs(token.row) > (config.max_ttl_seconds + 1) * 1000) return refused('token_lifetime_refused');
  if (config.clients !== null && line.includes(undefined)) {
    return unknown('', 'a token that its own was exchanged from is not known any more');
  }
  return byRules(event, service, token);
};

const lifetimeMs = ({ createdAt, expiresAt }: TokenRow): number => expiresAt - Math.floor(createdAt / 1000) * 1000;

const byRules = async (event: AuditEventRow, service: AskedService, token: AskedToken): Promise<Decision> => {
  const { method, path, rule } = event;
  // No change of a service changes the rules that stand in a token.
  if (rule !== '' && !rule.startsWith('scope:') && token.row.allow.includes(rule)) return { kind: 'allowed', rule };
  if (!isWhole(path)) return unknown('', 'its path was not kept whole');
  const own = token.own.surely(method, path);
  if (own !== undefined) return { kind: 'allowed', rule: own };
  let maybe = token.own.maybe(method, path);
  for (const name of token.scopes) {
    const scope = await service.scope(name);
    if (scope?.surely(method, path) !== undefined) return { kind: 'allowed', rule: `scope:${name}` };
    maybe ??= scope?.maybe(method, path);
  }
  return maybe === undefined ? refused('scope_refused') : unknown(maybe, UNSEEN);
};

/** Whether a recorded path is the one that was matched. */
export const isWhole = (path: string): boolean => path.length < MAX_PATH && !path.includes('[token]');

const UNSEEN = 'its rule asks for a query, a header or a body, which are not kept';

const refused = (code: ErrorCode): Decision => ({ kind: 'refused', code });
const unknown = (rule: string, why: string): Decision => ({ kind: 'unknown', rule, why });
