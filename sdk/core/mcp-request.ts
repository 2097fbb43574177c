// Reads one JSON-RPC 2.0 message of a body, as MCP sends it, or refuses it.

import { isSpellingOf } from './fold.ts';
import { type BodyObject, type BodyValue, isBodyObject, NumberText } from './request-body.ts';
import { NAMED_METHODS, RESPONSE } from './rule.ts';

/** What is called, and with what; or what is answered. */
export type RpcCall = {
  /** Of an answer to a request of the server: `RESPONSE`. */
  readonly method: string;
  /** `params.name`, of the methods that have one. */
  readonly name: string | undefined;
  /** Parameters, or arguments; of an answer its result, which an error has not. */
  readonly args: BodyObject;
};

const MEMBERS = new Set(['jsonrpc', 'id', 'method', 'params']);
const RESULT_MEMBERS = new Set(['jsonrpc', 'id', 'result']);
const ERROR_MEMBERS = new Set(['jsonrpc', 'id', 'error']);
const NOTHING: BodyObject = Object.freeze(Object.create(null));

/** `undefined` for a batch, and for anything that two servers could read in two ways. */
export const readRpcCall = (value: BodyValue): RpcCall | undefined => {
  if (!isBodyObject(value) || value.jsonrpc !== '2.0') return undefined;
  return value.method === undefined ? readResponse(value) : readRequest(value);
};

const readRequest = (value: BodyObject): RpcCall | undefined => {
  const { id, method, params } = value;
  if (!hasOnly(value, MEMBERS) || typeof method !== 'string' || (id !== undefined && !isId(id))) return undefined;
  // As a method it would be taken for an answer.
  if (method === RESPONSE) return undefined;
  if (params !== undefined && !isBodyObject(params)) return undefined;
  if (!NAMED_METHODS.has(method)) return { method, name: undefined, args: params ?? NOTHING };
  return params === undefined ? undefined : readNamed(method, params);
};

/** Either a result or an error, and of which request. */
const readResponse = (value: BodyObject): RpcCall | undefined => {
  const { id, result, error } = value;
  if (!isId(id)) return undefined;
  if (hasOnly(value, RESULT_MEMBERS) && isBodyObject(result))
    return { method: RESPONSE, name: undefined, args: result };
  if (!hasOnly(value, ERROR_MEMBERS) || !isBodyObject(error)) return undefined;
  return { method: RESPONSE, name: undefined, args: NOTHING };
};

const hasOnly = (value: BodyObject, members: ReadonlySet<string>): boolean =>
  Object.keys(value).every((member) => members.has(member));

/** A request without one is a notification. */
const isId = (id: BodyValue | undefined): boolean => typeof id === 'string' || id instanceof NumberText;

const readNamed = (method: string, params: BodyObject): RpcCall | undefined => {
  const isPlain = Object.keys(params).every((member) => {
    if (member === 'name' || member === 'arguments') return true;
    return !isSpellingOf(member, 'name') && !isSpellingOf(member, 'arguments');
  });
  const { name, arguments: args } = params;
  if (!isPlain || typeof name !== 'string') return undefined;
  if (args !== undefined && !isBodyObject(args)) return undefined;
  return { method, name, args: args ?? NOTHING };
};
