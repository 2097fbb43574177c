// Compiles the operations of an OpenAPI document (3.x, and Swagger 2.0) to rules.

import { DaypassError } from './errors.ts';
import { isMethod } from './method.ts';
import { indexPaths, liesBelow, type PathIndex, takenIn } from './openapi-index.ts';
import { type ApiPath, type PathReading, readApiPath, sayPath } from './openapi-path.ts';
import {
  elementsOf,
  isObject,
  memberOf,
  membersOf,
  resolve,
  serverUrls,
  summaryOf,
  swaggerUrls,
  textOf,
} from './openapi-reading.ts';
import { isOperationId, parseRule } from './rule-parse.ts';
import { printRule } from './rule-print.ts';

/** An operation as a rule. */
export type CompiledOperation = {
  /** Its `operationId`. */
  readonly id: string;
  /** Canonical text: a template or `~` rule without conditions. */
  readonly rule: string;
  /** One line of at most 200 characters. */
  readonly summary: string;
};

/** Where a rule is not just what the document says. */
export type OperationNote = {
  readonly id: string;
  readonly kind: /** It ends in `**`: its last parameter may hold slashes. */
    | 'many'
    /** A parameter that may hold slashes stands for one segment, since more would take in other operations. */
    | 'one'
    /** It also takes in requests of `others`, whose paths have a text where its own has a parameter. */
    | 'also'
    /** It is a `~` rule, which takes no conditions. */
    | 'pattern';
  /** Ids of operations, the first 20 of them. */
  readonly others: readonly string[];
};

/** What became of a document. */
export type CompiledOpenApi = {
  readonly operations: readonly CompiledOperation[];
  /** By `operationId`, or method and path; each with the reason. */
  readonly skipped: readonly { readonly id: string; readonly reason: string }[];
  readonly notes: readonly OperationNote[];
  /** Where its paths begin: URLs, or paths alone; without a slash at the end. */
  readonly servers: readonly string[];
};

/** The most operations of a document. */
export const MAX_OPERATIONS = 10_000;

/**
 * Compiles a document, parsed from JSON or YAML. Every operation becomes a rule that allows its method and path and
 * nothing wider, or is named with the reason; `notes` say where a rule is wider or narrower than one may expect.
 * @throws DaypassError `invalid_argument` for what is no such document, or one of more than 10,000 operations
 */
export const compileOpenApi = (document: unknown): CompiledOpenApi => {
  const servers = readServers(document);
  const found = findOperations(document, servers);
  const counts = new Map<string, number>();
  for (const { id } of found) counts.set(id, (counts.get(id) ?? 0) + 1);
  const neighbours = indexByMethod(found);
  const operations: CompiledOperation[] = [];
  const skipped: { id: string; reason: string }[] = [];
  const notes: OperationNote[] = [];
  for (const one of found) {
    const said = compileOne(one, counts, neighbours.get(one.method) ?? indexPaths([]));
    if ('reason' in said)
      skipped.push({ id: one.id === '' ? `${one.method} ${one.key}` : one.id, reason: said.reason });
    else {
      operations.push({ id: one.id, rule: said.rule, summary: one.summary });
      notes.push(...said.notes);
    }
  }
  return { operations, skipped, notes, servers };
};

const VERSION = /^3(\.[0-2](\.[0-9A-Za-z.-]+)?)?$/;

const readServers = (document: unknown): readonly string[] => {
  // YAML reads `2.0` and `3.0` without quotes as numbers.
  const isSwagger = ['2.0', '2'].includes(String(memberOf(document, 'swagger')));
  if (!isSwagger && !VERSION.test(String(memberOf(document, 'openapi')))) {
    throw new DaypassError('invalid_argument', 'this is no OpenAPI 3 or Swagger 2.0 document');
  }
  if (!isObject(memberOf(document, 'paths'))) throw new DaypassError('invalid_argument', 'the document has no paths');
  if (isSwagger) return swaggerUrls(document);
  const servers = serverUrls(memberOf(document, 'servers'));
  return servers.length === 0 ? [''] : servers;
};

type Found = {
  /** Empty where it has none. */
  readonly id: string;
  readonly method: string;
  /** The path as the document has it. */
  readonly key: string;
  readonly path: PathReading;
  readonly summary: string;
  /** Why it cannot be said, apart from its path. */
  readonly problem: string | undefined;
};

const METHODS = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch', 'trace', 'query'] as const;
const OTHER_FIELDS = new Set(['summary', 'description', 'servers', 'parameters', 'additionalOperations']);

const findOperations = (document: unknown, servers: readonly string[]): readonly Found[] => {
  const found: Found[] = [];
  for (const [key, value] of membersOf(memberOf(document, 'paths'))) {
    if (key.startsWith('x-')) continue;
    if (value === null) continue;
    const item = resolve(document, value);
    if (item === undefined) {
      found.push(broken(key, 'what stands there, or what its $ref names, is no object of this document'));
      continue;
    }
    for (const [method, operation] of operationsOf(item))
      found.push(readOperation(document, servers, key, item, method, operation));
    if (found.length > MAX_OPERATIONS) {
      throw new DaypassError('invalid_argument', `the document has more than ${MAX_OPERATIONS} operations`);
    }
  }
  return found;
};

const broken = (key: string, problem: string): Found => ({
  ...{ id: '', method: '*', key, summary: '', problem },
  path: { problem },
});

const operationsOf = (item: Readonly<Record<string, unknown>>): readonly (readonly [string, unknown])[] => {
  const fields = membersOf(item).filter(([name]) => !name.startsWith('x-') && !OTHER_FIELDS.has(name));
  const additional = membersOf(item.additionalOperations);
  return [
    ...fields.map(([name, value]) => [isMethodField(name) ? name.toUpperCase() : name, value] as const),
    ...additional,
  ];
};

const isMethodField = (name: string): boolean => METHODS.some((one) => one === name);

const readOperation = (
  document: unknown,
  servers: readonly string[],
  key: string,
  item: Readonly<Record<string, unknown>>,
  method: string,
  operation: unknown,
): Found => {
  const own = serverUrls(memberOf(operation, 'servers') ?? item.servers);
  const isElsewhere = own.length > 0 && !own.some((url) => servers.includes(url));
  const parameters = pathParameters(document, [
    ...elementsOf(item.parameters),
    ...elementsOf(memberOf(operation, 'parameters')),
  ]);
  const styled = [...parameters].find(([, { style }]) => style === 'matrix' || style === 'label');
  const greedy = [...parameters].flatMap(([name, { isGreedy }]) => (isGreedy ? [name] : []));
  const problem = isElsewhere
    ? `it has a server of its own: ${own[0] ?? ''}`
    : styled && `{${styled[0]}} is written in the ${styled[1].style} style`;
  const id = textOf(memberOf(operation, 'operationId'));
  return { id, method, key, path: readApiPath(key, new Set(greedy)), summary: summaryOf(operation), problem };
};

type Parameter = { readonly style: string; readonly isGreedy: boolean };

/** Path parameters by name; those of an operation come after, and instead of, those of its path item. */
const pathParameters = (document: unknown, all: readonly unknown[]): ReadonlyMap<string, Parameter> => {
  const found = new Map<string, Parameter>();
  for (const one of all) {
    const parameter = resolve(document, one);
    if (parameter?.in !== 'path') continue;
    const isGreedy = parameter.allowReserved === true || parameter['x-multi-segment'] === true;
    found.set(textOf(parameter.name).replace(/^\+|\+$/g, ''), { style: textOf(parameter.style), isGreedy });
  }
  return found;
};

const indexByMethod = (found: readonly Found[]): ReadonlyMap<string, PathIndex> => {
  const groups = new Map<string, { readonly id: string; readonly path: ApiPath }[]>();
  for (const { id, method, key, path } of found) {
    if ('problem' in path) continue;
    const group = groups.get(method) ?? [];
    groups.set(method, group);
    group.push({ id: id === '' ? `${method} ${key}` : id, path });
  }
  return new Map([...groups].map(([method, group]) => [method, indexPaths(group)]));
};

type Said = { readonly rule: string; readonly notes: readonly OperationNote[] } | { readonly reason: string };

const compileOne = (one: Found, counts: ReadonlyMap<string, number>, neighbours: PathIndex): Said => {
  const { id, method, path, problem } = one;
  if (problem !== undefined) return { reason: problem };
  if (id === '') return { reason: 'it has no operationId to name it by' };
  if ((counts.get(id) ?? 0) > 1) return { reason: 'several operations have this operationId' };
  if (!isOperationId(id)) {
    return { reason: 'its operationId is not 1 to 200 letters, digits, dots, colons, slashes, dashes and underscores' };
  }
  if (!isMethod(method)) return { reason: `${JSON.stringify(method.slice(0, 32))} is no method` };
  if ('problem' in path) return { reason: path.problem };
  const { restOpen, notes } = openness(id, path, neighbours);
  const said = sayPath(path, restOpen);
  const others = firstOthers(id, takenIn(neighbours, path));
  try {
    return {
      rule: printRule(parseRule(`${method} ${said.text}`)),
      notes: [
        ...notes,
        ...(said.kind === 'pattern' ? [{ id, kind: 'pattern', others: [] } as const] : []),
        ...(others.length === 0 ? [] : [{ id, kind: 'also', others } as const]),
      ],
    };
  } catch (error) {
    if (error instanceof DaypassError) return { reason: error.message };
    throw error;
  }
};

const MAX_OTHERS = 20;

const firstOthers = (id: string, ids: Iterable<string>): readonly string[] => {
  const found: string[] = [];
  for (const other of ids) {
    if (other !== id) found.push(other);
    if (found.length === MAX_OTHERS) break;
  }
  return found;
};

/** Slashes are let through by the last parameter only, and only where no other operation lies below. */
const openness = (id: string, path: ApiPath, neighbours: PathIndex) => {
  const greedy = path.segments.flatMap((pieces, index) =>
    pieces.some((piece) => piece.kind === 'name' && path.greedy.has(piece.name)) ? [index] : [],
  );
  if (greedy.length === 0) return { restOpen: false, notes: [] };
  const last = path.segments.length - 1;
  const below = firstOthers(id, liesBelow(neighbours, path));
  const restOpen = greedy.includes(last) && below.length === 0;
  const notes: OperationNote[] = [];
  if (restOpen) notes.push({ id, kind: 'many', others: [] });
  if (!restOpen || greedy.length > 1) notes.push({ id, kind: 'one', others: below });
  return { restOpen, notes };
};
