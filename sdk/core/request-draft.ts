// A request in the making: values put where conditions look for them.

import type { JsonValue } from './json.ts';
import type { GraphqlRule, McpRule, Step, Subject, Value } from './rule.ts';
import { NAMED_METHODS, RESPONSE } from './rule.ts';

/** A request as a person could send it. */
export type ExampleRequest = {
  readonly method: string;
  readonly path: string;
  /** Without its `?`; `undefined` if there is none. */
  readonly query: string | undefined;
  /** By lower-case name. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
};

/** What is chosen so far. */
export type Draft = {
  method: string;
  /** Segments, the last of which may hold slashes. */
  readonly path: string[];
  /** Encoded pairs. */
  readonly query: string[];
  readonly headers: Record<string, string>;
  /** The body, or the arguments of a call. */
  json: JsonValue | undefined;
  isBatch: boolean;
  /** Root fields; or a method and a name. */
  readonly fields: string[];
};

/** Puts values where `subject` is; more than one only where there is an `[*]` on the way. */
export const placeValues = (draft: Draft, subject: Subject, values: readonly Value[]): void => {
  const [first] = values;
  if (first === undefined) return;
  switch (subject.in) {
    case 'path':
      return;
    case 'query':
      draft.query.push(`${encodeURIComponent(subject.name)}=${encodeURIComponent(textOf(first))}`);
      return;
    case 'header':
      draft.headers[subject.name] = textOf(first);
      return;
    case 'body':
    case 'arg':
      draft.json = withValues(draft.json, subject.steps, values.map(jsonOf));
      return;
    default:
      subject satisfies never;
  }
};

/** The body of a GraphQL or JSON-RPC request. */
export const callBody = (rule: GraphqlRule | McpRule, { json, fields, isBatch }: Draft): JsonValue => {
  const args = isObject(json) ? json : {};
  const call = rule.kind === 'mcp' ? rpcCall(args, fields) : graphqlCall(rule, args, fields);
  return isBatch ? [call] : call;
};

const rpcCall = (args: JsonValue, [method = '', name = '']: readonly string[]): JsonValue => ({
  jsonrpc: '2.0',
  id: 1,
  ...(method === RESPONSE
    ? { result: args }
    : { method, params: NAMED_METHODS.has(method) ? { name, arguments: args } : args }),
});

const graphqlCall = (
  { operation }: GraphqlRule,
  args: { readonly [member: string]: JsonValue },
  fields: readonly string[],
): JsonValue => {
  if (operation === 'persisted') return { documentId: fields[0] ?? '', variables: args };
  const given = Object.entries(args).map(([name, value]) => `${name}: ${literalOf(value)}`);
  const list = given.length === 0 ? '' : `(${given.join(', ')})`;
  return { query: `${operation} { ${fields.map((field) => field + list).join(' ')} }` };
};

/** GraphQL writes values as JSON does, but for the names of members. */
const literalOf = (value: JsonValue): string => {
  if (Array.isArray(value)) return `[${value.map(literalOf).join(', ')}]`;
  if (!isObject(value)) return JSON.stringify(value);
  return `{${Object.entries(value)
    .map(([name, member]) => `${name}: ${literalOf(member)}`)
    .join(', ')}}`;
};

const withValues = (at: JsonValue | undefined, steps: readonly Step[], values: readonly JsonValue[]): JsonValue => {
  const [step, ...rest] = steps;
  if (step === undefined) return values[0] ?? null;
  if (step.kind === 'member') {
    const before = isObject(at) ? at : {};
    const member = Object.hasOwn(before, step.name) ? before[step.name] : undefined;
    return { ...before, [step.name]: withValues(member, rest, values) };
  }
  const before: readonly JsonValue[] = Array.isArray(at) ? at : [];
  return Array.from({ length: Math.max(before.length, values.length) }, (_, index) =>
    withValues(before[index] ?? before[0], rest, [values[index % values.length] ?? null]),
  );
};

const isObject = (value: JsonValue | undefined): value is { readonly [member: string]: JsonValue } =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const jsonOf = (value: Value): JsonValue => {
  if (value.kind === 'number') return Number(value.text);
  return value.kind === 'null' ? null : value.value;
};

const textOf = (value: Value): string => String(value.kind === 'number' ? value.text : jsonOf(value));
