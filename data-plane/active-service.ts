// A service as requests see it: what its configuration means for headers, query and URLs, worked out once.

import { isRequestFieldDropped } from '@daypass/core/dropped-fields';
import { DaypassError } from '@daypass/core/errors';
import { OVERRIDE_KEYS, queryName } from '@daypass/core/query-keys';
import type { CompiledRules } from '@daypass/core/rule-match';
import type { CredentialEntry, ServiceConfig } from '@daypass/core/service';
import { parseTarget } from '@daypass/core/target';
import { plainName } from './header-names.ts';

/** A service of an active snapshot. */
export type ActiveService = FieldRules & {
  readonly config: ServiceConfig;
  /** `/s/<name>`: what comes before the upstream's path in a target. */
  readonly prefix: string;
  readonly credential: CredentialEntry | undefined;
  /** Named scopes of this service. */
  readonly scopes: ReadonlyMap<string, CompiledRules>;
  /** What its upstream connections depend on: services with the same share them. */
  readonly poolKey: string;
};

/** What a service's settings mean for fields and query keys: the same for all that have the same settings. */
export type FieldRules = {
  /** Whether a request field stops here, whatever its value. */
  readonly dropsField: (name: string) => boolean;
  /** Fields added to every request, names and values by turns. */
  readonly addedFields: readonly string[];
  /** Query keys that stop here, as `queryName` gives them. */
  readonly droppedKeys: ReadonlySet<string>;
  /** Lower-case names of the header fields that may carry a token. */
  readonly tokenFields: readonly string[];
  readonly takesToken: boolean;
  readonly takesBasic: boolean;
};

/** Field rules by the settings that they come from. */
export type KnownRules = {
  get(settings: string): FieldRules | undefined;
  set(settings: string, rules: FieldRules): unknown;
};

/** Works out a service; `known` holds what it may share with others. Throws `snapshot_inconsistent` naming it. */
export function prepareService(
  config: ServiceConfig,
  credential: CredentialEntry | undefined,
  scopes: ReadonlyMap<string, CompiledRules>,
  known: KnownRules = new Map(),
): ActiveService {
  checkBasePath(config);
  return {
    ...fieldRulesOf(config, known),
    config,
    prefix: `/s/${config.name}`,
    credential,
    scopes,
    poolKey: poolKeyOf(config),
  };
}

// Where and how the credential stands, too: an upstream may take a connection for authenticated by a request on it.
const poolKeyOf = ({ origin, connect_timeout_ms, insecure_upstream, place, set_headers }: ServiceConfig): string =>
  JSON.stringify([origin, connect_timeout_ms, insecure_upstream, place, set_headers]);

function fieldRulesOf(config: ServiceConfig, known: KnownRules): FieldRules {
  const { place, token_in, drop_headers, set_headers, drop_query } = config;
  const key = JSON.stringify([place, token_in, drop_headers, set_headers, drop_query]);
  const before = known.get(key);
  if (before !== undefined) return before;
  const rules = prepareFields(config);
  known.set(key, rules);
  return rules;
}

function prepareFields(config: ServiceConfig): FieldRules {
  const tokenFields = config.token_in.flatMap((place) => (place.kind === 'header' ? [place.name] : []));
  const dropped = droppedFields(config, tokenFields);
  return {
    dropsField: memoized((name) => dropped.has(name) || isRequestFieldDropped(name)),
    addedFields: Object.entries(config.set_headers).flatMap(([name, value]) => checkAdded(config, name, value)),
    droppedKeys: droppedKeys(config),
    tokenFields,
    takesToken: config.token_in.some((place) => place.kind === 'token'),
    takesBasic: config.token_in.some((place) => place.kind === 'basic'),
  };
}

function droppedFields(config: ServiceConfig, tokenFields: readonly string[]): ReadonlySet<string> {
  const { place, drop_headers, set_headers } = config;
  return new Set([
    ...tokenFields,
    ...drop_headers.map((name) => name.toLowerCase()),
    ...Object.keys(set_headers).map((name) => name.toLowerCase()),
    ...(place?.kind === 'header' ? [place.name] : []),
  ]);
}

function droppedKeys({ place, drop_query }: ServiceConfig): ReadonlySet<string> {
  const own = place?.kind === 'query' ? [place.name] : [];
  return new Set([...OVERRIDE_KEYS, ...drop_query.map(queryName), ...own.map(queryName)]);
}

/** Fields that frame or route a message are never a matter of configuration. */
const NOT_SET = new Set(['connection', 'content-length', 'expect', 'host', 'keep-alive', 'te', 'trailer', 'upgrade']);

function checkAdded(config: ServiceConfig, name: string, value: string): readonly string[] {
  const field = plainName(name);
  const isSound = field !== '' && !NOT_SET.has(field) && field !== 'transfer-encoding' && /^[\t -~]*$/.test(value);
  if (!isSound) throw inconsistent(config, `sets the header ${JSON.stringify(name)}, which cannot be set`);
  return [field, value];
}

// What is put in front of an authorised path must itself have one reading.
function checkBasePath(config: ServiceConfig): void {
  const { base_path } = config;
  try {
    if (parseTarget(`${base_path}/`).query === undefined) return;
  } catch (cause) {
    throw inconsistent(config, 'has an ambiguous base path', cause);
  }
  throw inconsistent(config, 'has a query in its base path');
}

/** Names asked before are answered from memory, which is bounded. */
function memoized(decide: (name: string) => boolean): (name: string) => boolean {
  const known = new Map<string, boolean>();
  return (name) => {
    const before = known.get(name);
    if (before !== undefined) return before;
    const answer = decide(name);
    if (known.size < 256 && name.length <= 64) known.set(name, answer);
    return answer;
  };
}

const inconsistent = (config: ServiceConfig, what: string, cause?: unknown): DaypassError =>
  new DaypassError('snapshot_inconsistent', `The service ${config.name} ${what}`, cause === undefined ? {} : { cause });
