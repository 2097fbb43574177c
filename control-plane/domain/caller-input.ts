// Reads what a caller is to be and what bounds it, and names everything that is wrong with it.
import { DaypassError } from '@daypass/core/errors';
import { MAX_RULES } from '@daypass/core/rule';
import { LARGEST_TTL_SECONDS } from '@daypass/core/service';
import type { Aggregates, CallerRow, Ceilings } from '../store/interface.ts';
import { operationLookup } from './operations.ts';
import { createProblems, type Problems } from './problems.ts';
import { checkLength, readRules } from './rules.ts';

/** A caller as it is asked; undefined lists and times are not set. */
export type CallerInput = {
  readonly name: string;
  readonly services: readonly string[];
  readonly admin: boolean;
  readonly ceilings: ReadonlyMap<string, readonly string[]>;
  readonly maxTtlMs: number | undefined;
  readonly clients: readonly string[] | undefined;
  readonly subjects: readonly string[] | undefined;
  readonly editsScopes: boolean;
};

/** What can be changed of a caller, checked. */
export type CallerBounds = Omit<CallerRow, 'name' | 'keyHash' | 'etag' | 'createdAt'> & { readonly ceilings: Ceilings };

/**
 * Checks a caller; `kept` are the stored ceilings where they are not to change.
 * @throws {DaypassError} `not_found`, `invalid_rule` or `invalid_argument` naming every problem by its path under `caller`
 */
export const readBounds = async (
  tx: Pick<Aggregates, 'services' | 'operations'>,
  input: CallerInput,
  kept: Ceilings | undefined,
): Promise<CallerBounds> => {
  const problems = createProblems();
  for (const [i, service] of input.services.entries()) {
    if ((await tx.services.get(service)) !== undefined) continue;
    problems.add(`caller.services[${i}]`, `there is no service \`${service.slice(0, 63)}\``, 'not_found');
  }
  if (input.admin) refuseBounds(input, kept, problems);
  const asked = kept === undefined ? input.ceilings : new Map(Object.entries(kept));
  checkCeilingServices(asked, input.services, problems);
  const ceilings = kept ?? (await readCeilings(tx, input, problems));
  const bounds = {
    services: [...new Set(input.services)].sort(),
    admin: input.admin,
    ceilings,
    maxTtlSeconds: readMaxTtl(input.maxTtlMs, problems),
    clients: readTexts(input.clients, 'caller.clients.labels', LABEL, problems),
    subjects: readTexts(input.subjects, 'caller.subjects.subjects', SUBJECT, problems),
    editsScopes: input.editsScopes,
  };
  problems.throwIfAny();
  return bounds;
};

/** An admin could take away what bounds it: that would be no bound. */
const refuseBounds = (input: CallerInput, kept: Ceilings | undefined, problems: Problems): void => {
  const has = {
    ceilings: input.ceilings.size > 0 || Object.keys(kept ?? {}).length > 0,
    max_ttl: input.maxTtlMs !== undefined,
    clients: input.clients !== undefined,
    subjects: input.subjects !== undefined,
  };
  for (const [field, isSet] of Object.entries(has)) {
    if (isSet) problems.add(`caller.${field}`, 'is nothing that an admin can have: it may do everything');
  }
};

const pathOf = (service: string): string => `caller.ceilings["${service.slice(0, 63)}"]`;

const checkCeilingServices = (
  ceilings: ReadonlyMap<string, readonly string[]>,
  services: readonly string[],
  problems: Problems,
): void => {
  let rules = 0;
  for (const [service, { length }] of ceilings) {
    rules += length;
    if (!services.includes(service)) problems.add(pathOf(service), 'is a ceiling for none of its `services`');
  }
  if (rules > MAX_RULES) problems.add('caller.ceilings', `hold ${rules} rules of at most ${MAX_RULES} together`);
};

const readCeilings = async (
  tx: Pick<Aggregates, 'services' | 'operations'>,
  { ceilings }: CallerInput,
  problems: Problems,
): Promise<Ceilings> => {
  const read: [string, readonly string[]][] = [];
  for (const [name, texts] of [...ceilings].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const service = await tx.services.get(name);
    if (service === undefined) continue;
    const expand = await operationLookup(tx, name, texts);
    const hasScope = (scope: string): boolean => Object.hasOwn(service.scopes, scope);
    read.push([name, readRules(texts, `${pathOf(name)}.rules`, hasScope, problems, expand)]);
  }
  checkLength(
    read.map(([, rules]) => rules),
    'ceilings',
    'caller.ceilings',
    problems,
  );
  return Object.fromEntries(read);
};

const readMaxTtl = (ms: number | undefined, problems: Problems): number | undefined => {
  if (ms === undefined) return undefined;
  const seconds = ms / 1000;
  if (!Number.isInteger(seconds) || seconds < 1 || seconds > LARGEST_TTL_SECONDS) {
    problems.add('caller.max_ttl', `must be whole seconds, at least 1, at most ${LARGEST_TTL_SECONDS} (366 days)`);
  }
  return seconds;
};

/** As Mint takes them. */
const LABEL = { form: /^[!-~]{1,128}$/, is: 'must be 1 to 128 visible characters' };
const SUBJECT = { form: /^[\s\S]{1,256}$/, is: 'must be 1 to 256 characters' };

const readTexts = (
  texts: readonly string[] | undefined,
  path: string,
  { form, is }: typeof LABEL,
  problems: Problems,
): readonly string[] | undefined => {
  if (texts === undefined) return undefined;
  for (const [i, text] of texts.entries()) if (!form.test(text)) problems.add(`${path}[${i}]`, is);
  return [...new Set(texts)];
};

const FIELDS: Readonly<Record<string, keyof CallerInput>> = {
  services: 'services',
  admin: 'admin',
  ceilings: 'ceilings',
  max_ttl: 'maxTtlMs',
  clients: 'clients',
  subjects: 'subjects',
  edits_scopes: 'editsScopes',
};

/** `is` with the fields that the mask names taken from `asked`. `*` stands for all that can be changed.
 * @throws {DaypassError} `invalid_argument` for an empty mask and an unknown path */
export const applyCallerMask = (is: CallerInput, asked: CallerInput, mask: readonly string[]): CallerInput => {
  if (mask.length === 0) throw wrong('must name at least one field, or `*`');
  if (mask.length === 1 && mask[0] === '*') return { ...asked, name: is.name };
  const changed: CallerInput = { ...is };
  for (const path of mask) {
    const key = Object.hasOwn(FIELDS, path) ? FIELDS[path] : undefined;
    if (key === undefined) throw wrong(unknown(path));
    Object.assign(changed, { [key]: asked[key] });
  }
  return changed;
};

const unknown = (path: string): string =>
  path === '*'
    ? '`*` stands alone'
    : `\`${path.slice(0, 64)}\` is not a field that can be changed; those are ${Object.keys(FIELDS).join(', ')}`;

const wrong = (message: string): DaypassError =>
  new DaypassError('invalid_argument', message, { field: 'update_mask' });
