// Reads one JSON-RPC 2.0 request or notification of a body, as MCP sends it, or refuses it.

import { foldName } from './fold.ts';
import { type BodyObject, type BodyValue, isBodyObject, NumberText } from './request-body.ts';
import { NAMED_METHODS } from './rule.ts';

/** What is called, and with what. */
export type RpcCall = {
  readonly method: string;
  /** `params.name`, of the methods that have one. */
  readonly name: string | undefined;
  readonly args: BodyObject;
};

const MEMBERS = new Set(['jsonrpc', 'id', 'method', 'params']);
const NOTHING: BodyObject = Object.freeze(Object.create(null));

/** `undefined` for a response, a batch, and anything that two servers could read in two ways. */
export const readRpcCall = (value: BodyValue): RpcCall | undefined => {
  if (!isBodyObject(value) || !Object.keys(value).every((member) => MEMBERS.has(member))) return undefined;
  const { jsonrpc, id, method, params } = value;
  if (jsonrpc !== '2.0' || typeof method !== 'string' || !isId(id)) return undefined;
  if (params !== undefined && !isBodyObject(params)) return undefined;
  if (!NAMED_METHODS.has(method)) return { method, name: undefined, args: params ?? NOTHING };
  return params === undefined ? undefined : readNamed(method, params);
};

/** Absent: it is a notification. */
const isId = (id: BodyValue | undefined): boolean =>
  id === undefined || typeof id === 'string' || id instanceof NumberText;

const readNamed = (method: string, params: BodyObject): RpcCall | undefined => {
  const isPlain = Object.keys(params).every((member) => {
    const folded = foldName(member);
    return (folded !== 'name' && folded !== 'arguments') || member === folded;
  });
  const { name, arguments: args } = params;
  if (!isPlain || typeof name !== 'string') return undefined;
  if (args !== undefined && !isBodyObject(args)) return undefined;
  return { method, name, args: args ?? NOTHING };
};
