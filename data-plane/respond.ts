// The response head as the client will see it: what is for the proxy alone stops, URLs lead back, credentials are gone.
import { DaypassError } from '@daypass/core/errors';
import type { Grant } from './authorize.ts';
import { isResponseFieldDropped, lowerCase, optionNames } from './header-names.ts';
import { type RewriteContext, rewriteLinks, rewriteUrl } from './rewrite.ts';
import { fieldValues } from './transport/field-values.ts';
import { type AnswerFields, answerFields } from './transport/head-text.ts';

/** The head of a response. */
export type ResponseHead = {
  readonly status: number;
  readonly reason: string;
  /** Names as the upstream wrote them. */
  readonly fields: AnswerFields;
  /** Bytes that the body has; undefined when only its end will tell. */
  readonly contentLength: number | undefined;
  /** No body follows, whatever the fields say (RFC 9112 §6.3). */
  readonly isBodiless: boolean;
};

type Received = {
  readonly status: number;
  readonly reason: string;
  /** Names and values by turns. */
  readonly raw: readonly string[];
};

/** Builds the head, with fields of the proxy's own (by turns) behind the upstream's. Throws `upstream_response_invalid`. */
export function respondHead(
  received: Received,
  method: string,
  grant: Grant,
  publicUrl: string,
  own: readonly string[],
): ResponseHead {
  const { raw, status } = received;
  const fields: string[] = [];
  let contentLength: number | undefined;
  let coding = '';
  const hopNames = connectionNames(raw);
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const written = raw[at] ?? '';
    const name = lowerCase(written);
    const value = raw[at + 1] ?? '';
    if (name === 'transfer-encoding') coding = coding === '' ? value : `${coding},${value}`;
    if (isResponseFieldDropped(name) || hopNames?.has(name) === true) continue;
    if (name === 'content-length') {
      if (status === 204) continue;
      contentLength = readLength(value);
    }
    fields.push(written, URL_FIELDS.has(name) ? rewritten(name, value, grant, publicUrl) : value);
  }
  if (coding !== '') checkCoding(coding);
  const isBodiless = method === 'HEAD' || status === 204 || status === 304 || contentLength === 0;
  const reason = printable(received.reason);
  return { status, contentLength, isBodiless, ...scrubbed(reason, fields, grant, own) };
}

const URL_FIELDS = new Set(['location', 'content-location', 'link']);

function rewritten(name: string, value: string, grant: Grant, publicUrl: string): string {
  const { config } = grant.service;
  const context: RewriteContext = {
    upstreamOrigin: config.origin,
    basePath: config.base_path,
    publicUrl,
    prefix: grant.route.prefix,
    credentialKey: config.place?.kind === 'query' ? config.place.name : undefined,
  };
  return name === 'link' ? rewriteLinks(value, context) : rewriteUrl(value, context);
}

// One search over the whole head; only a head that holds the credential is gone through value by value.
function scrubbed(
  reason: string,
  fields: readonly string[],
  { injection }: Grant,
  own: readonly string[],
): Pick<ResponseHead, 'reason' | 'fields'> {
  const head = answerFields(own.length === 0 ? fields : [...fields, ...own]);
  if (injection === undefined) return { reason, fields: head };
  const { scrubber } = injection;
  if (!scrubber.finds(`${reason}\n${head.lines}`)) return { reason, fields: head };
  const clean = fields.map((part, at) => {
    const isName = at % 2 === 0;
    // A short secret of digits alone must not take the body's length for itself.
    if (!isName && fields[at - 1]?.toLowerCase() === 'content-length') return part;
    // A credential in a name cannot be redacted in place: brackets are no part of a name.
    if (isName) return scrubber.finds(part) ? 'x-redacted' : part;
    return scrubber.scrub(part);
  });
  return { reason: scrubber.scrub(reason), fields: answerFields([...clean, ...own]) };
}

/** Names that the answer's Connection field lists, but for what frames or types the body. */
function connectionNames(raw: Received['raw']): ReadonlySet<string> | undefined {
  const values = fieldValues(raw, 'connection');
  if (values.length === 0) return undefined;
  return new Set(values.flatMap(optionNames).filter((option) => !KEPT.has(option)));
}

const KEPT = new Set(['content-length', 'content-type', 'content-encoding', 'set-cookie', 'cache-control']);

function checkCoding(value: string): void {
  if (value.trim().toLowerCase() !== 'chunked')
    throw new DaypassError('upstream_response_invalid', 'The upstream used a transfer coding that is not known');
}

function readLength(value: string): number {
  if (!/^[0-9]{1,15}$/.test(value))
    throw new DaypassError('upstream_response_invalid', "The upstream's Content-Length is not a number");
  return Number(value);
}

// Node refuses to write anything else; the reason phrase means nothing to a program.
const printable = (reason: string): string => (/^[\t\x20-\x7e]*$/.test(reason) ? reason : '');
