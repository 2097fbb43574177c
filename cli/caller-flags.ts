// The flags that describe a caller, the fields of the API that they set, and how those are shown.
import { type Duration, durationFromMs, durationMs } from '@bufbuild/protobuf/wkt';
import type { Caller } from '@daypass/sdk/gen/daypass/v1/caller_pb';
import type { Command } from 'commander';
import { durationFlag, durationText } from './duration.ts';
import { UsageError } from './failure.ts';
import { canonicalRules } from './service-flags.ts';

/** What the flags hold once parsed by the program. */
export type CallerOptions = {
  readonly service?: readonly string[];
  readonly admin?: boolean;
  readonly allow?: readonly string[];
  readonly maxTtl?: string;
  readonly client?: readonly string[];
  readonly subject?: readonly string[];
  readonly editsScopes?: boolean;
};

/** Adds the flags that `caller create` and `caller update` share. */
export const addCallerFlags = (command: Command): Command =>
  command
    .option('--service <name...>', 'services it may mint for (default: none)')
    .option('--admin', 'may do everything, minting for every service included')
    .option('--allow <service=rule...>', 'its ceiling: the most that its tokens may allow (default: anything)')
    .option('--max-ttl <duration>', "longest lifetime of its tokens (default: the service's)")
    .option('--client <label...>', 'the only client labels that it may use (default: all)')
    .option('--subject <text...>', 'whom it may speak for, besides those labels')
    .option('--edits-scopes', 'may change the named scopes of its services, as far as its ceiling covers the result');

type CallerInit = {
  readonly services?: string[];
  readonly admin?: boolean;
  readonly ceilings?: Record<string, { rules: string[] }>;
  readonly maxTtl?: Duration;
  readonly clients?: { readonly labels: string[] };
  readonly subjects?: { readonly subjects: string[] };
  readonly editsScopes?: boolean;
};

/** Fields to set, and their paths as an update mask has them. */
export type CallerFields = { readonly fields: CallerInit; readonly mask: readonly string[] };

/** The fields that the given flags set. @throws UsageError naming the flag */
export const callerFields = (options: CallerOptions): CallerFields => {
  const { service, admin, allow, maxTtl, client, subject, editsScopes } = options;
  const patches: (readonly [path: string, fields: CallerInit])[] = [];
  if (service !== undefined) patches.push(['services', { services: [...new Set(service)] }]);
  if (admin !== undefined) patches.push(['admin', { admin }]);
  if (allow !== undefined) patches.push(['ceilings', { ceilings: ceilingsOf(allow) }]);
  if (maxTtl !== undefined) patches.push(['max_ttl', { maxTtl: someTime(maxTtl) }]);
  if (client !== undefined) patches.push(['clients', { clients: { labels: [...client] } }]);
  if (subject !== undefined) patches.push(['subjects', { subjects: { subjects: [...subject] } }]);
  if (editsScopes !== undefined) patches.push(['edits_scopes', { editsScopes }]);
  const fields: CallerInit = Object.assign({}, ...patches.map(([, patch]) => patch));
  return { fields, mask: patches.map(([path]) => path) };
};

const someTime = (text: string): Duration => {
  const ms = durationFlag(text, '--max-ttl');
  if (ms > 0) return durationFromMs(ms);
  throw new UsageError('--max-ttl must be above 0', '--max-ttl');
};

const ceilingsOf = (texts: readonly string[]): Record<string, { rules: string[] }> => {
  const ceilings = new Map<string, { rules: string[] }>();
  for (const text of texts) {
    const [, service, rule] = /^([a-z0-9-]+)=(.+)$/.exec(text) ?? [];
    if (service === undefined || rule === undefined)
      throw new UsageError(`--allow takes SERVICE=RULE, such as 'github=GET /user', not "${text}"`, '--allow');
    const rules = ceilings.get(service)?.rules ?? [];
    ceilings.set(service, { rules: [...rules, ...canonicalRules([rule], '--allow')] });
  }
  return Object.fromEntries(ceilings);
};

/** The rules that bound a caller for a service; undefined where none do. */
export const ceilingFor = ({ ceilings }: Pick<Caller, 'ceilings'>, service: string): readonly string[] | undefined =>
  Object.hasOwn(ceilings, service) ? ceilings[service]?.rules : undefined;

/** Services for which a caller may mint whatever it likes. */
export const unboundedServices = (caller: Caller): readonly string[] =>
  caller.admin ? [] : caller.services.filter((service) => ceilingFor(caller, service) === undefined);

/** Services, each with how many rules bound it. */
export const servicesText = (caller: Caller): string => {
  if (caller.admin) return 'everything';
  const texts = caller.services.map((service) => {
    const rules = ceilingFor(caller, service)?.length;
    return rules === undefined ? service : `${service} (within ${rules} ${rules === 1 ? 'rule' : 'rules'})`;
  });
  return texts.join(', ') || 'nothing';
};

/** What else bounds a caller, and what it may do besides. */
export const boundsText = ({ maxTtl, clients, subjects, editsScopes }: Caller): string =>
  [
    ...(maxTtl === undefined ? [] : [`at most ${durationText(durationMs(maxTtl))}`]),
    ...(clients === undefined ? [] : [`as ${few(clients.labels)}`]),
    ...(subjects === undefined ? [] : [`for ${few(subjects.subjects)}`]),
    ...(editsScopes ? ['edits scopes'] : []),
  ].join('; ');

const SHOWN = 3;

const few = (texts: readonly string[]): string =>
  texts.length === 0 ? 'nobody' : [...texts.slice(0, SHOWN), ...(texts.length > SHOWN ? ['…'] : [])].join(', ');
