// The flags that describe a service, and the fields of the API that they set.
import { create } from '@bufbuild/protobuf';
import { type Duration, durationFromMs } from '@bufbuild/protobuf/wkt';
import { DaypassError } from '@daypass/core/errors';
import { parseRule } from '@daypass/core/rule-parse';
import { printRule } from '@daypass/core/rule-print';
import {
  type CredentialPlace,
  type Rate,
  RateSchema,
  type RuleList,
  RuleListSchema,
} from '@daypass/sdk/gen/daypass/v1/service_pb';
import type { Command } from 'commander';
import { durationFlag } from './duration.ts';
import { UsageError } from './failure.ts';
import { parsePlace, placeMessage } from './place.ts';
import type { SecretSource } from './secret-input.ts';

/** What the flags hold once parsed by the program. */
export type ServiceOptions = SecretSource & {
  readonly upstream?: string;
  readonly credential?: string;
  readonly template?: string;
  readonly ceiling?: readonly string[];
  readonly caller?: readonly string[];
  readonly sealTtl?: string;
  readonly tokenIn?: readonly string[];
  readonly default?: boolean;
  readonly anonymous?: boolean;
  readonly insecureUpstream?: boolean;
  readonly encodedSlashes?: boolean;
  readonly maxTtl?: string;
  readonly connectTimeout?: string;
  readonly responseTimeout?: string;
  readonly client?: readonly string[];
  /** False: `--no-clients` was given. */
  readonly clients?: boolean;
  readonly scope?: readonly string[];
  readonly dropHeader?: readonly string[];
  readonly setHeader?: readonly string[];
  readonly dropQuery?: readonly string[];
  readonly limitPerToken?: string;
  readonly limitPerClient?: string;
  readonly limitPerService?: string;
  readonly description?: string;
  readonly openapi?: string;
};

/** Adds the flags that `service create` and `service update` share. */
export const addServiceFlags = (command: Command): Command =>
  command
    .option('--credential <place>', 'where the credential goes: bearer, basic, header:NAME or query:NAME')
    .option('--template <text>', 'value of a credential header, with {secret} in it once (default {secret})')
    .option(
      '--secret-stdin',
      'read the credential from standard input and seal it; asked for without echo on a terminal',
    )
    .option('--secret-env <variable>', 'take the credential from this environment variable and seal it')
    .option('--ceiling <rule...>', 'seal: the credential is good for these requests only (default: all)')
    .option('--caller <name...>', 'seal: only tokens that these callers minted may use it (default: all that may mint)')
    .option('--seal-ttl <duration>', 'seal: how long it is good (default 3650d)')
    .option('--token-in <places...>', 'where else tokens may be: token, basic, header:NAME; commas or blanks between')
    .option('--default', 'serve it at / too, beside /s/NAME/')
    .option('--no-default', 'serve it at /s/NAME/ only')
    .option('--anonymous', 'forward requests without a token; no credential may be attached')
    .option('--no-anonymous', 'every request needs a token')
    .option('--insecure-upstream', 'allow a plain http:// upstream')
    .option('--no-insecure-upstream', 'allow https:// only')
    .option('--encoded-slashes', 'forward paths with %2F in a segment; the upstream must not take it for a slash')
    .option('--no-encoded-slashes', 'refuse paths with %2F')
    .option('--max-ttl <duration>', 'longest lifetime of a token (default 24h, at most 366d)')
    .option('--connect-timeout <duration>', 'longest time to connect (default 10s)')
    .option('--response-timeout <duration>', 'longest silence of the upstream (default 5m)')
    .option('--client <label...>', 'only these client labels may use it (default: all)')
    .option('--no-clients', 'no client may use it')
    .option('--scope <name=rule...>', 'named scopes; a name may come again with another rule')
    .option('--drop-header <name...>', 'headers that never reach the upstream')
    .option('--set-header <name:value...>', 'headers set on every request; not for secrets')
    .option('--drop-query <key...>', 'query keys that never reach the upstream')
    .option('--limit-per-token <rate>', 'requests in a time for one token, such as 100/1m')
    .option('--limit-per-client <rate>', 'the same for one client label')
    .option('--limit-per-service <rate>', 'the same for the whole service')
    .option('--openapi <file>', 'its OpenAPI document, JSON or YAML: rules may then name operations by op:ID')
    .option('--description <text>', 'free text for people');

type ServiceInit = {
  readonly upstream?: string;
  readonly place?: CredentialPlace;
  readonly tokenIn?: string[];
  readonly isDefault?: boolean;
  readonly anonymous?: boolean;
  readonly insecureUpstream?: boolean;
  readonly encodedSlashes?: boolean;
  readonly maxTtl?: Duration;
  readonly connectTimeout?: Duration;
  readonly responseTimeout?: Duration;
  readonly clients?: { readonly labels: string[] };
  readonly scopes?: Record<string, RuleList>;
  readonly cleaning?: {
    readonly dropHeaders?: string[];
    readonly setHeaders?: Record<string, string>;
    readonly dropQuery?: string[];
  };
  readonly limits?: { readonly perToken?: Rate; readonly perClient?: Rate; readonly perService?: Rate };
  readonly description?: string;
};

/** Fields to set, and their paths as an update mask has them. */
export type ServiceFields = {
  readonly fields: ServiceInit;
  readonly mask: readonly string[];
};

type Patch = readonly [path: string, fields: ServiceInit];

/** The fields that the given flags set; the seal is not among them. @throws UsageError naming the flag */
export const serviceFields = (options: ServiceOptions): ServiceFields => {
  const patches = [
    ...plainPatches(options),
    ...listPatches(options),
    ...cleaningPatches(options),
    ...limitPatches(options),
  ];
  const fields = patches.reduce<ServiceInit>((all, [, patch]) => merge(all, patch), {});
  return { fields, mask: patches.map(([path]) => path) };
};

/** Lays one patch over another; only cleaning and limits have parts that come from several flags. */
const merge = (all: ServiceInit, patch: ServiceInit): ServiceInit => ({
  ...all,
  ...patch,
  ...(patch.cleaning === undefined ? {} : { cleaning: { ...all.cleaning, ...patch.cleaning } }),
  ...(patch.limits === undefined ? {} : { limits: { ...all.limits, ...patch.limits } }),
});

const plainPatches = (options: ServiceOptions): readonly Patch[] => {
  const { upstream, credential, description } = options;
  const patches: Patch[] = [];
  if (upstream !== undefined) patches.push(['upstream', { upstream: checkUpstream(upstream) }]);
  if (credential !== undefined)
    patches.push(['place', { place: placeMessage(parsePlace(credential, options.template)) }]);
  else if (options.template !== undefined)
    throw new UsageError('--template needs --credential header:NAME', '--template');
  if (options.default !== undefined) patches.push(['is_default', { isDefault: options.default }]);
  if (options.anonymous !== undefined) patches.push(['anonymous', { anonymous: options.anonymous }]);
  if (options.insecureUpstream !== undefined)
    patches.push(['insecure_upstream', { insecureUpstream: options.insecureUpstream }]);
  if (options.encodedSlashes !== undefined)
    patches.push(['encoded_slashes', { encodedSlashes: options.encodedSlashes }]);
  if (options.maxTtl !== undefined) patches.push(['max_ttl', { maxTtl: someTime(options.maxTtl, '--max-ttl') }]);
  if (options.connectTimeout !== undefined)
    patches.push(['connect_timeout', { connectTimeout: someTime(options.connectTimeout, '--connect-timeout') }]);
  if (options.responseTimeout !== undefined)
    patches.push(['response_timeout', { responseTimeout: someTime(options.responseTimeout, '--response-timeout') }]);
  if (description !== undefined) patches.push(['description', { description }]);
  return patches;
};

const listPatches = (options: ServiceOptions): readonly Patch[] => {
  const patches: Patch[] = [];
  if (options.tokenIn !== undefined)
    patches.push([
      'token_in',
      { tokenIn: options.tokenIn.flatMap((text) => text.split(',')).filter((text) => text !== '') },
    ]);
  if (options.clients === false && options.client !== undefined)
    throw new UsageError('give --client or --no-clients, not both', '--no-clients');
  if (options.clients === false) patches.push(['clients', { clients: { labels: [] } }]);
  else if (options.client !== undefined) patches.push(['clients', { clients: { labels: [...options.client] } }]);
  if (options.scope !== undefined) patches.push(['scopes', { scopes: scopesOf(options.scope) }]);
  return patches;
};

const cleaningPatches = ({ dropHeader, setHeader, dropQuery }: ServiceOptions): readonly Patch[] => {
  const patches: Patch[] = [];
  if (dropHeader !== undefined) patches.push(['cleaning.drop_headers', { cleaning: { dropHeaders: [...dropHeader] } }]);
  if (setHeader !== undefined)
    patches.push(['cleaning.set_headers', { cleaning: { setHeaders: Object.fromEntries(setHeader.map(headerOf)) } }]);
  if (dropQuery !== undefined) patches.push(['cleaning.drop_query', { cleaning: { dropQuery: [...dropQuery] } }]);
  return patches;
};

const limitPatches = (options: ServiceOptions): readonly Patch[] => {
  const { limitPerToken, limitPerClient, limitPerService } = options;
  const patches: Patch[] = [];
  if (limitPerToken !== undefined)
    patches.push(['limits.per_token', { limits: { perToken: rate(limitPerToken, '--limit-per-token') } }]);
  if (limitPerClient !== undefined)
    patches.push(['limits.per_client', { limits: { perClient: rate(limitPerClient, '--limit-per-client') } }]);
  if (limitPerService !== undefined)
    patches.push(['limits.per_service', { limits: { perService: rate(limitPerService, '--limit-per-service') } }]);
  return patches;
};

/** Rules in canonical form. @throws UsageError quoting the rule */
export const canonicalRules = (texts: readonly string[], flag: string): readonly string[] =>
  texts.map((text) => {
    try {
      return printRule(parseRule(text));
    } catch (cause) {
      if (cause instanceof DaypassError) throw new UsageError(cause.message, flag, cause.code);
      throw cause;
    }
  });

const scopesOf = (texts: readonly string[]) => {
  const scopes = new Map<string, string[]>();
  for (const text of texts) {
    const [, name, rule] = /^([^=]+)=(.+)$/.exec(text) ?? [];
    if (name === undefined || rule === undefined)
      throw new UsageError(`--scope takes NAME=RULE, not "${text}"`, '--scope');
    scopes.set(name, [...(scopes.get(name) ?? []), ...canonicalRules([rule], '--scope')]);
  }
  return Object.fromEntries([...scopes].map(([name, rules]) => [name, create(RuleListSchema, { rules })]));
};

const headerOf = (text: string): readonly [string, string] => {
  const [, name, value] = /^([A-Za-z0-9-]+):(.*)$/.exec(text) ?? [];
  if (name === undefined || value === undefined) throw new UsageError('--set-header takes NAME:VALUE', '--set-header');
  return [name, value.trimStart()];
};

const rate = (text: string, flag: string): Rate => {
  const [, requests, per] = /^(\d{1,7})\/(.+)$/.exec(text) ?? [];
  if (requests === undefined || per === undefined)
    throw new UsageError(`${flag} takes a number of requests and a time, such as 100/1m, not "${text}"`, flag);
  return create(RateSchema, { requests: Number(requests), per: duration(per, flag) });
};

const duration = (text: string, flag: string): Duration => durationFromMs(durationFlag(text, flag));

/** The API reads 0 as the default, which is longer than anybody means who writes 0. */
const someTime = (text: string, flag: string): Duration => {
  if (durationFlag(text, flag) > 0) return duration(text, flag);
  throw new UsageError(`${flag} must be above 0; \`service update --clear ${flag.slice(2)}\` sets the default`, flag);
};

const checkUpstream = (text: string): string => {
  if (URL.canParse(text) && /^https?:\/\//.test(text)) return text;
  throw new UsageError(`--upstream takes a URL such as https://api.example.com, not "${text}"`, '--upstream');
};
