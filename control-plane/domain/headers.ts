// Which header names a service may not set, drop, or use for a credential or a token.

/** Headers that frame or route a message, or belong to one hop (RFC 9110 §7.6.1, RFC 9112 §6). */
const FRAMING = new Set([
  'connection',
  'content-length',
  'expect',
  'host',
  'http2-settings',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'via',
]);

/** Headers that make a server read another method or path than the one that was authorised. */
const OVERRIDES = new Set([
  'x-http-method',
  'x-http-method-override',
  'x-method-override',
  'x-original-url',
  'x-rewrite-url',
]);

/** Headers whose value would be a secret kept in the clear. */
const SECRETS = new Set(['authorization', 'cookie']);

/** Why a header cannot be the place of a credential; undefined when it can. */
export const refuseCredentialHeader = (name: string): string | undefined => {
  const lower = name.toLowerCase();
  if (FRAMING.has(lower) || lower.startsWith(':')) return `\`${name}\` belongs to the connection, not to a credential`;
  if (OVERRIDES.has(lower)) return `\`${name}\` changes what is asked, it cannot carry a credential`;
  if (lower.startsWith('content-') || lower === 'accept-encoding' || lower === 'range') {
    return `\`${name}\` says something of the body, it cannot carry a credential`;
  }
  return undefined;
};

/** Why a header cannot be set on every request; undefined when it can. */
export const refuseSetHeader = (name: string): string | undefined => {
  const lower = name.toLowerCase();
  if (FRAMING.has(lower)) return `\`${name}\` belongs to the connection and cannot be set`;
  if (OVERRIDES.has(lower)) return `\`${name}\` changes what is asked and cannot be set`;
  if (SECRETS.has(lower)) return `\`${name}\` carries a credential: seal it instead`;
  return undefined;
};

/** Why a header cannot be dropped; undefined when it can. */
export const refuseDropHeader = (name: string): string | undefined =>
  FRAMING.has(name.toLowerCase()) ? `\`${name}\` belongs to the connection and is never the caller's` : undefined;

/** Why a header cannot be where a token is presented; undefined when it can. */
export const refuseTokenHeader = (name: string): string | undefined => {
  if (name.toLowerCase() === 'authorization') return 'say `bearer`, `token` or `basic` for the Authorization header';
  return name.toLowerCase() === 'cookie' ? 'a token is never read from a cookie' : refuseCredentialHeader(name);
};

/** Whether a text can be a header value: visible ASCII and inner spaces (RFC 9110 §5.5). */
export const isHeaderValue = (text: string): boolean => /^(?:[!-~](?:[ -~]*[!-~])?)?$/.test(text);
