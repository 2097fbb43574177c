// A service between proto and the registry's words, both ways.
import type { MessageInitShape } from '@bufbuild/protobuf';
import { DaypassError } from '@daypass/core/errors';
import type { CredentialPlace, Rate } from '@daypass/core/service';
import { inputOf, printTokenPlaces, type ServiceInput } from '../domain/service-input.ts';
import type { ServiceChange } from '../domain/services.ts';
import {
  CredentialPlace_Kind as Kind,
  type CredentialPlace as ProtoPlace,
  type Rate as ProtoRate,
  type Service,
  type ServiceRegistryUpdateRequest,
  type ServiceSchema,
} from '../gen/daypass/v1/service_pb.ts';
import { durationMs, toDuration, toTime } from './words.ts';

type Row = ServiceChange['row'];

/** The service of a request. Throws `invalid_argument` where there is none. */
export const present = (service: Service | undefined): Service => {
  if (service === undefined) throw new DaypassError('invalid_argument', 'is required', { field: 'service' });
  return service;
};

/** An update, in the registry's words. */
export const toUpdate = ({ service, updateMask }: ServiceRegistryUpdateRequest) => ({
  input: toInput(present(service)),
  mask: updateMask?.paths ?? [],
  etag: present(service).etag,
});

/** What is asked, in the registry's words. */
export const toInput = (service: Service): ServiceInput => ({
  name: service.name,
  upstream: service.upstream,
  place: placeOf(service.place),
  sealedCredential: service.sealedCredential,
  credentialId: service.credentialId,
  tokenIn: service.tokenIn,
  pool: service.pool,
  isDefault: service.isDefault,
  anonymous: service.anonymous,
  insecureUpstream: service.insecureUpstream,
  encodedSlashes: service.encodedSlashes,
  maxTtlMs: durationMs(service.maxTtl) ?? 0,
  connectTimeoutMs: durationMs(service.connectTimeout) ?? 0,
  responseTimeoutMs: durationMs(service.responseTimeout) ?? 0,
  clients: service.clients?.labels,
  scopes: new Map(Object.entries(service.scopes).map(([name, { rules }]) => [name, rules])),
  dropHeaders: service.cleaning?.dropHeaders ?? [],
  setHeaders: new Map(Object.entries(service.cleaning?.setHeaders ?? {})),
  dropQuery: service.cleaning?.dropQuery ?? [],
  perToken: rateOf(service.limits?.perToken),
  perClient: rateOf(service.limits?.perClient),
  perService: rateOf(service.limits?.perService),
  description: service.description,
  operations: service.operations.map(({ id, rule, summary }) => ({ id, rule, summary })),
});

const placeOf = (place: ProtoPlace | undefined): ServiceInput['place'] => {
  if (place === undefined) return undefined;
  const { name, template } = place;
  switch (place.kind) {
    case Kind.BEARER:
      return { kind: 'bearer', name, template };
    case Kind.BASIC:
      return { kind: 'basic', name, template };
    case Kind.QUERY:
      return { kind: 'query', name, template };
    // Validation refuses every other kind before it comes here; a header with its own checks is the strictest.
    default:
      return { kind: 'header', name, template };
  }
};

const rateOf = (rate: ProtoRate | undefined): ServiceInput['perToken'] =>
  rate === undefined ? undefined : { requests: rate.requests, perMs: durationMs(rate.per) ?? 0 };

/** A stored service. */
export const toService = (row: Row): MessageInitShape<typeof ServiceSchema> => {
  const { config } = row;
  const input = inputOf(row);
  return {
    name: row.name,
    upstream: input.upstream,
    ...(config.place === null ? {} : { place: toPlace(config.place) }),
    sealedCredential: input.sealedCredential,
    credentialId: input.credentialId,
    tokenIn: [...printTokenPlaces(config.token_in)],
    pool: config.pool,
    isDefault: config.is_default,
    anonymous: config.anonymous,
    insecureUpstream: config.insecure_upstream,
    encodedSlashes: input.encodedSlashes,
    maxTtl: toDuration(config.max_ttl_seconds * 1000),
    connectTimeout: toDuration(config.connect_timeout_ms),
    responseTimeout: toDuration(config.response_timeout_ms),
    ...(config.clients === null ? {} : { clients: { labels: [...config.clients] } }),
    scopes: Object.fromEntries(Object.entries(row.scopes).map(([name, rules]) => [name, { rules: [...rules] }])),
    ...toCleaning(row),
    ...toLimits(row),
    description: row.description,
    etag: row.etag,
    createTime: toTime(row.createdAt),
    updateTime: toTime(row.updatedAt),
  };
};

const KINDS = { bearer: Kind.BEARER, basic: Kind.BASIC, header: Kind.HEADER, query: Kind.QUERY } as const;

const toPlace = (place: CredentialPlace) => ({
  kind: KINDS[place.kind],
  name: 'name' in place ? place.name : '',
  template: 'template' in place ? place.template : '',
});

const toCleaning = ({ config: { drop_headers, set_headers, drop_query } }: Row) =>
  drop_headers.length + Object.keys(set_headers).length + drop_query.length === 0
    ? {}
    : { cleaning: { dropHeaders: [...drop_headers], setHeaders: { ...set_headers }, dropQuery: [...drop_query] } };

const toLimits = ({ config: { limits } }: Row) => {
  const { per_token, per_client, per_service } = limits;
  if (per_token === null && per_client === null && per_service === null) return {};
  return {
    limits: {
      ...(per_token === null ? {} : { perToken: toRate(per_token) }),
      ...(per_client === null ? {} : { perClient: toRate(per_client) }),
      ...(per_service === null ? {} : { perService: toRate(per_service) }),
    },
  };
};

const toRate = (rate: Rate) => ({ requests: rate.requests, per: toDuration(rate.per_seconds * 1000) });
