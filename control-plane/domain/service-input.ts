// A service as somebody writes it: the words between the RPC and the rules of the registry.
import type { CredentialPlace, Rate, TokenPlace } from '@daypass/core/service';
import type { OperationRow, ServiceRow } from '../store/interface.ts';

/** A rate as it is asked. */
export type RateInput = { readonly requests: number; readonly perMs: number };

/** A service as it is asked; 0 and empty texts stand for the defaults. */
export type ServiceInput = {
  readonly name: string;
  readonly upstream: string;
  readonly place:
    | { readonly kind: CredentialPlace['kind']; readonly name: string; readonly template: string }
    | undefined;
  readonly sealedCredential: string;
  readonly credentialId: string;
  readonly tokenIn: readonly string[];
  readonly pool: string;
  readonly isDefault: boolean;
  readonly anonymous: boolean;
  readonly insecureUpstream: boolean;
  readonly encodedSlashes: boolean;
  readonly maxTtlMs: number;
  readonly connectTimeoutMs: number;
  readonly responseTimeoutMs: number;
  /** Undefined: every client label. */
  readonly clients: readonly string[] | undefined;
  readonly scopes: ReadonlyMap<string, readonly string[]>;
  readonly dropHeaders: readonly string[];
  readonly setHeaders: ReadonlyMap<string, string>;
  readonly dropQuery: readonly string[];
  readonly perToken: RateInput | undefined;
  readonly perClient: RateInput | undefined;
  readonly perService: RateInput | undefined;
  readonly description: string;
  /** Undefined: those that are stored stay. */
  readonly operations: readonly OperationRow[] | undefined;
};

/** What would make the stored service again. */
export const inputOf = (row: ServiceRow): ServiceInput => {
  const { config } = row;
  return {
    name: row.name,
    upstream: config.origin + config.base_path,
    place: config.place === null ? undefined : placeInput(config.place),
    sealedCredential: row.sealedCredential ?? '',
    credentialId: row.credentialId ?? '',
    tokenIn: printTokenPlaces(config.token_in),
    pool: config.pool,
    isDefault: config.is_default,
    anonymous: config.anonymous,
    insecureUpstream: config.insecure_upstream,
    encodedSlashes: config.encoded_slashes ?? false,
    maxTtlMs: config.max_ttl_seconds * 1000,
    connectTimeoutMs: config.connect_timeout_ms,
    responseTimeoutMs: config.response_timeout_ms,
    clients: config.clients ?? undefined,
    scopes: new Map(Object.entries(row.scopes)),
    dropHeaders: config.drop_headers,
    setHeaders: new Map(Object.entries(config.set_headers)),
    dropQuery: config.drop_query,
    perToken: rateInput(config.limits.per_token),
    perClient: rateInput(config.limits.per_client),
    perService: rateInput(config.limits.per_service),
    description: row.description,
    operations: undefined,
  };
};

const placeInput = (place: CredentialPlace): NonNullable<ServiceInput['place']> => ({
  kind: place.kind,
  name: 'name' in place ? place.name : '',
  template: 'template' in place ? place.template : '',
});

const rateInput = (rate: Rate | null): RateInput | undefined =>
  rate === null ? undefined : { requests: rate.requests, perMs: rate.per_seconds * 1000 };

/** The places besides bearer, as they are written. */
export const printTokenPlaces = (places: readonly TokenPlace[]): readonly string[] =>
  places
    .filter((place) => place.kind !== 'bearer')
    .map((place) => (place.kind === 'header' ? `header:${place.name}` : place.kind));
