// Gives a code, and the field where it is known, to the errors of requests that could not be read: no handler saw those.
import type { ErrorCode } from '@daypass/core/errors';
import { CODE_HEADER, FIELD_HEADER } from './errors.ts';

/** An answer as the RPC library gives it. */
type Answer = {
  readonly status: number;
  readonly header?: Headers;
  readonly body?: AsyncIterable<Uint8Array>;
};

/** The same answer; an error of Connect's unary protocol that has no code of the catalogue gets one. */
export const nameUnread = async <A extends Answer>(answer: A): Promise<A> => {
  const { header, body, status } = answer;
  if (status < 400 || header === undefined || body === undefined) return answer;
  if (header.has(CODE_HEADER) || header.has('content-encoding')) return answer;
  if (header.get('content-type') !== 'application/json') return answer;
  const bytes = await readAll(body);
  const said = readError(bytes);
  const named = said === undefined ? undefined : nameOf(said.code, said.message);
  if (said === undefined || named === undefined) return { ...answer, body: only(bytes) };
  // The library calls a message that is no protobuf its own fault.
  const own = said.code === 'internal' ? { code: 'invalid_argument', status: 400 } : { code: said.code, status };
  const text = new TextEncoder().encode(JSON.stringify({ ...said, code: own.code }));
  const renamed = new Headers(header);
  renamed.set(CODE_HEADER, named.code);
  renamed.set('content-length', String(text.length));
  if (named.field !== undefined) renamed.set(FIELD_HEADER, named.field);
  return { ...answer, status: own.status, header: renamed, body: only(text) };
};

type Named = { readonly code: ErrorCode; readonly field: string | undefined };

/** What the library's own words come to; undefined: it is not about what was sent. */
const nameOf = (code: string, message: string): Named | undefined => {
  if (code === 'resource_exhausted') return { code: 'body_too_large', field: undefined };
  if (code === 'unimplemented' && message.startsWith('unknown compression'))
    return { code: 'header_invalid', field: undefined };
  if (code !== 'invalid_argument' && !(code === 'internal' && message.startsWith('parse binary'))) return undefined;
  return { code: 'invalid_argument', field: fieldOf(message) };
};

const fieldOf = (message: string): string | undefined =>
  (/^cannot decode field [\w.]+\.(\w+) from JSON/.exec(message) ?? /: key "(\w{1,64})" is unknown$/.exec(message))?.[1];

const readError = (bytes: Uint8Array): { readonly code: string; readonly message: string } | undefined => {
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(bytes));
    if (typeof value !== 'object' || value === null || !('code' in value)) return undefined;
    const message = 'message' in value && typeof value.message === 'string' ? value.message : '';
    return typeof value.code === 'string' ? { code: value.code, message } : undefined;
  } catch {
    return undefined;
  }
};

const readAll = async (body: AsyncIterable<Uint8Array>): Promise<Uint8Array> => {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
};

async function* only(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
