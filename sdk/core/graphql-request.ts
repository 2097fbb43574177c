// Reads one GraphQL request of a body: which root fields it asks for and with which arguments, or refuses it.

import { isSpellingOf } from './fold.ts';
import {
  type Arguments,
  type Document,
  type Fragment,
  readDocument,
  type Selection,
  type Written,
} from './graphql-document.ts';
import { GraphqlProblem } from './graphql-lexer.ts';
import { type BodyObject, type BodyValue, isBodyObject, type JsonBody, NumberText } from './request-body.ts';
import type { GraphqlOperation } from './rule.ts';

/** What is asked for. */
export type GraphqlCall = {
  readonly operation: GraphqlOperation;
  /** At least one: root fields by their own names; of `persisted` the one document, its arguments the variables. */
  readonly fields: readonly { readonly name: string; readonly args: BodyObject }[];
};

const MEMBERS = new Set(['query', 'operationName', 'variables', 'extensions', 'documentId']);
/** Root fields of one request, fragments resolved. */
const MAX_ROOT_FIELDS = 1000;
const NOTHING: BodyObject = Object.freeze(Object.create(null));

/**
 * `undefined` for a batch, and for anything that two servers could read in two ways. The document's tokens are taken
 * from the budget of the `body` that it came in.
 */
export const readGraphqlCall = (value: BodyValue, body?: JsonBody): GraphqlCall | undefined => {
  if (!isBodyObject(value) || !Object.keys(value).every((member) => MEMBERS.has(member))) return undefined;
  const { query, operationName = null, variables = null, extensions = null, documentId } = value;
  if (operationName !== null && typeof operationName !== 'string') return undefined;
  if (variables !== null && !isBodyObject(variables)) return undefined;
  if (extensions !== null && !isBodyObject(extensions)) return undefined;
  const given = variables ?? NOTHING;
  if (query === undefined) return readPersisted(documentId, extensions, given);
  if (typeof query !== 'string' || documentId !== undefined || namesDocument(extensions)) return undefined;
  try {
    const spend = body === undefined ? undefined : (steps: number) => body.spend(steps);
    return readCall(readDocument(query, spend), operationName, given);
  } catch (error) {
    if (error instanceof GraphqlProblem) return undefined;
    throw error;
  }
};

const namesDocument = (extensions: BodyObject | null): boolean =>
  extensions !== null && Object.keys(extensions).some((name) => isSpellingOf(name, 'persistedquery'));

const readPersisted = (
  documentId: BodyValue | undefined,
  extensions: BodyObject | null,
  args: BodyObject,
): GraphqlCall | undefined => {
  const isNamed = namesDocument(extensions);
  if (isNamed && documentId !== undefined) return undefined;
  const name = isNamed ? hashOf(extensions?.persistedQuery) : documentId;
  return typeof name === 'string' ? { operation: 'persisted', fields: [{ name, args }] } : undefined;
};

const hashOf = (persisted: BodyValue | undefined): string | undefined => {
  if (!isBodyObject(persisted) || Object.keys(persisted).length !== 2) return undefined;
  const { version, sha256Hash } = persisted;
  const isFirst = version instanceof NumberText && version.text === '1';
  return isFirst && typeof sha256Hash === 'string' ? sha256Hash : undefined;
};

const readCall = (document: Document, operationName: string | null, given: BodyObject): GraphqlCall => {
  const source: Source = { document, given, presets: new Map() };
  if (document.isDirected) throw new GraphqlProblem('a directive on the operation');
  if (operationName !== null && operationName !== document.name) throw new GraphqlProblem('another operation is named');
  const fields: { name: string; args: BodyObject }[] = [];
  const visited = new Set<Fragment>();
  const collect = (selections: readonly Selection[]): void => {
    for (const selection of selections) {
      // What is skipped or included by a directive depends on the server.
      if (selection.isDirected) throw new GraphqlProblem('a directive at the root');
      if (selection.kind === 'field') {
        fields.push({ name: selection.name, args: readArguments(selection.args, source) });
        if (fields.length > MAX_ROOT_FIELDS) throw new GraphqlProblem('too many root fields');
      } else if (selection.kind === 'inline') collect(selection.selections);
      else collectFragment(selection.name);
    }
  };
  const collectFragment = (name: string): void => {
    const fragment = document.fragments.get(name);
    if (fragment === undefined) throw new GraphqlProblem('an unknown fragment');
    if (fragment.isDirected) throw new GraphqlProblem('a directive at the root');
    // Its fields are the same the second time, and one that names itself has no end.
    if (visited.has(fragment)) return;
    visited.add(fragment);
    collect(fragment.selections);
  };
  collect(document.selections);
  return { operation: document.type, fields };
};

/** Where values come from. */
type Source = {
  readonly document: Document;
  readonly given: BodyObject;
  /** Defaults that were asked for: a long one is made once, however often it is used. */
  readonly presets: Map<string, BodyValue | undefined>;
};

const readArguments = (written: Arguments, source: Source): BodyObject => {
  const args: Record<string, BodyValue> = Object.create(null);
  for (const [name, one] of written) {
    const value = resolve(one, source);
    if (value !== undefined) args[name] = value;
  }
  return args;
};

/** A value that is there and that no condition can speak of. */
const UNREADABLE = new NumberText('');

/** `undefined` for a variable that has neither a value nor a default: the argument is not given then (§6.4.1). */
const resolve = (written: Written, source: Source): BodyValue | undefined => {
  switch (written.kind) {
    case 'variable':
      return resolveVariable(written.name, source);
    case 'number':
      return new NumberText(written.text);
    case 'string':
      return written.text;
    case 'constant':
      return written.value;
    case 'block':
      return UNREADABLE;
    case 'list':
      return written.items.map((item) => {
        const value = resolve(item, source);
        return value === undefined ? UNREADABLE : value;
      });
    case 'object':
      return readArguments(written.fields, source);
    default:
      return written satisfies never;
  }
};

const resolveVariable = (name: string, source: Source): BodyValue | undefined => {
  const { document, given, presets } = source;
  if (!document.variables.has(name)) throw new GraphqlProblem('a variable that is not declared');
  if (Object.hasOwn(given, name)) return given[name];
  const preset = document.variables.get(name);
  if (!presets.has(name)) presets.set(name, preset === undefined ? undefined : resolve(preset, source));
  return presets.get(name);
};
