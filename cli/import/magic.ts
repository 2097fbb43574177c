// Reads the configuration file of magic-api-proxy: one API, and named scopes of "METHOD pattern" rules.
import { create } from '@bufbuild/protobuf';
import { DaypassError } from '@daypass/core/errors';
import type { JsonObject, JsonValue } from '@daypass/core/json';
import { MAX_REGEX_RULES } from '@daypass/core/rule';
import { parseRule } from '@daypass/core/rule-parse';
import { printRule } from '@daypass/core/rule-print';
import { RuleListSchema } from '@daypass/sdk/gen/daypass/v1/service_pb';
import { isObject } from './json-shape.ts';
import { convertPattern } from './pattern.ts';
import { createFindings, type Findings, isServiceName, type Plan, readUpstreamUrl } from './plan.ts';

/** What the user may say beside the file. */
export type MagicOptions = { readonly name?: string | undefined; readonly insecureUpstream: boolean };

const DEFAULT_API_ROOT = 'https://api.github.com';

/** Keys of the file that have no counterpart here, and why. */
const LEFT_BEHIND: Readonly<Record<string, string>> = {
  keys_location: 'Daypass has keys of its own (daypass init); tokens signed with the old ones are not taken',
  private_key_location: 'Daypass has keys of its own (daypass init); tokens signed with the old one are not taken',
  public_key_location: 'Daypass has keys of its own (daypass init)',
  public_certificate_location: 'Daypass has keys of its own (daypass init)',
  public_access: 'the address of the proxy is a setting of the data plane: DAYPASS_DATA_PUBLIC_URL',
  plugins_location: 'a plugin is code of the old proxy; its scopes do not exist here, and what names them is denied',
};

/** The plan for a parsed file. `plugins` are the names of plugin files found beside it. */
export const planMagic = (config: JsonValue, options: MagicOptions, plugins: readonly string[] = []): Plan => {
  const findings = createFindings();
  const { notes, problems } = findings;
  if (!isObject(config)) {
    findings.problem('$', 'must be an object');
    return { services: [], notes, problems };
  }
  noteTheRest(config, plugins, findings);
  const upstream = readUpstreamUrl(
    textOf(config.api_root, 'api_root', findings) ?? DEFAULT_API_ROOT,
    'api_root',
    findings,
  );
  const name = options.name ?? defaultName(upstream ?? DEFAULT_API_ROOT);
  if (!isServiceName(name))
    findings.problem('--name', `"${name}" is not a service name: lower-case letters, digits and inner hyphens`);
  const scopes = readScopes(config.scopes ?? {}, new Set(plugins), findings);
  if (upstream === undefined || problems.length > 0) return { services: [], notes, problems };
  const lists = [...scopes].map(([scope, rules]) => [scope, create(RuleListSchema, { rules: [...rules] })] as const);
  const place = { kind: 'bearer' } as const;
  const fields = { name, upstream, insecureUpstream: options.insecureUpstream, scopes: Object.fromEntries(lists) };
  findings.changed(
    '$',
    'tokens bring their own credential, as they did: daypass mint --seal-stdin. They live 15 minutes unless asked, no longer 5 years',
  );
  return { services: [{ fields, place, secret: undefined }], notes, problems };
};

const noteTheRest = (config: JsonObject, plugins: readonly string[], findings: Findings): void => {
  for (const key of Object.keys(config)) {
    if (key === 'api_root' || key === 'scopes') continue;
    findings.notImported(key, LEFT_BEHIND[key] ?? 'magic-api-proxy has no such key');
  }
  for (const plugin of plugins)
    findings.notImported(`scope ${plugin}`, 'it is a plugin, code of the old proxy; tokens that name it are denied');
};

const readScopes = (
  value: JsonValue,
  plugins: ReadonlySet<string>,
  findings: Findings,
): Map<string, readonly string[]> => {
  const scopes = new Map<string, readonly string[]>();
  if (!isObject(value)) {
    findings.problem('scopes', 'must be an object of lists');
    return scopes;
  }
  for (const [name, list] of Object.entries(value)) {
    const path = `scopes.${name}`;
    if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/.test(name))
      findings.problem(path, 'is not a scope name: up to 64 letters, digits, "_", "." and "-"');
    else if (!Array.isArray(list)) findings.problem(path, 'must be a list of rules');
    // Theirs lets a plugin take the place of a scope of the same name.
    else if (plugins.has(name)) findings.notImported(path, 'a plugin of the same name stood in its place');
    else scopes.set(name, readRules(list, path, findings));
  }
  return scopes;
};

const readRules = (list: readonly JsonValue[], path: string, findings: Findings): readonly string[] => {
  const rules = new Set<string>();
  for (const [index, value] of list.entries()) {
    const where = `${path}[${index}]`;
    const rule = readRule(value, where, findings);
    if (rule === undefined) continue;
    const converted = convertRule(rule);
    if ('problem' in converted) findings.notImported(where, `"${rule.method} ${rule.path}": ${converted.problem}`);
    else if (rules.size === MAX_REGEX_RULES && !rules.has(converted.rule))
      findings.notImported(where, `"${rule.method} ${rule.path}": a scope has at most ${MAX_REGEX_RULES} patterns`);
    else {
      rules.add(converted.rule);
      const text = `it allows this path only; before, any path that starts so, in any case`;
      findings.notes.push({ kind: 'rule', path: where, from: `${rule.method} ${rule.path}`, to: converted.rule, text });
    }
  }
  return [...rules];
};

type OldRule = { readonly method: string; readonly path: string };

const readRule = (value: JsonValue, where: string, findings: Findings): OldRule | undefined => {
  if (isObject(value) && typeof value.method === 'string' && typeof value.path === 'string')
    return { method: value.method, path: value.path };
  const space = typeof value === 'string' ? value.indexOf(' ') : -1;
  if (typeof value === 'string' && space > 0) return { method: value.slice(0, space), path: value.slice(space + 1) };
  return findings.problem(where, 'must be "METHOD pattern", or an object with method and path');
};

/** The nearest whole-match rule that allows nothing that the old one did not. */
const convertRule = ({ method, path }: OldRule): { readonly rule: string } | { readonly problem: string } => {
  // Theirs compares the method as it is written: any other spelling never allowed anything.
  if (method !== '*' && !/^[A-Z]+$/.test(method)) return { problem: `no request has the method "${method}"` };
  const converted = convertPattern(path);
  if ('problem' in converted) return converted;
  try {
    return { rule: printRule(parseRule(`${method} ~${converted.pattern}`)) };
  } catch (error) {
    if (error instanceof DaypassError) return { problem: error.message };
    throw error;
  }
};

const textOf = (value: JsonValue | undefined, path: string, findings: Findings): string | undefined => {
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'string') return value;
  return findings.problem(path, 'must be text');
};

const defaultName = (upstream: string): string =>
  new URL(upstream).hostname
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '')
    .slice(0, 63);
