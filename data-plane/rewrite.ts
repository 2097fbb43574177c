// Rewrites the URLs of a response head that point at the upstream, so that they lead back through the proxy.
import { queryName, withoutKeys } from '@daypass/core/query-keys';

/** What is known of the exchange whose head is rewritten. */
export type RewriteContext = {
  /** `https://host[:port]`. */
  readonly upstreamOrigin: string;
  readonly basePath: string;
  /** The proxy's own URL without a slash at the end. */
  readonly publicUrl: string;
  /** `/s/<service>` if the request came that way. */
  readonly prefix: string;
  /** The query key that carries the credential; never shown in a URL. */
  readonly credentialKey: string | undefined;
};

/** A URL reference of `Location` or `Content-Location` (RFC 9110 §10.2.2). */
export function rewriteUrl(reference: string, context: RewriteContext): string {
  const { basePath, publicUrl, prefix, upstreamOrigin, credentialKey } = context;
  const path = pathAtUpstream(reference, context);
  if (path === undefined && /^(?:[A-Za-z][A-Za-z0-9+.-]*:|\/\/)/.test(reference)) return reference;
  const kept = path ?? reference;
  const clean = credentialKey === undefined ? kept : withoutKey(kept, credentialKey);
  // A relative reference leads back by itself.
  if (path === undefined) return clean;
  const isUnder = basePath === '' || clean === basePath || /^[/?#]/.test(clean.slice(basePath.length));
  // Beside the base path there is no way through the proxy: the URL stays the upstream's own.
  if (!clean.startsWith(basePath) || !isUnder) return upstreamOrigin + clean;
  const rest = clean.slice(basePath.length);
  return `${publicUrl}${prefix}${rest.startsWith('/') ? '' : '/'}${rest}`;
}

/** Every target of a `Link` field (RFC 8288 §3). */
export const rewriteLinks = (value: string, context: RewriteContext): string =>
  value.replace(/<([^<>]*)>/g, (_whole, reference: string) => `<${rewriteUrl(reference, context)}>`);

/** The path and what follows it, for a reference to the upstream's origin; undefined for any other. */
function pathAtUpstream(reference: string, { upstreamOrigin }: RewriteContext): string | undefined {
  if (reference.startsWith('/') && !reference.startsWith('//')) return reference;
  const scheme = upstreamOrigin.slice(0, upstreamOrigin.indexOf(':') + 1);
  const absolute = reference.startsWith('//') ? scheme + reference : reference;
  for (const origin of spellings(upstreamOrigin, scheme)) {
    if (absolute.slice(0, origin.length).toLowerCase() !== origin) continue;
    const rest = absolute.slice(origin.length);
    if (rest === '') return '/';
    if (rest.startsWith('/')) return rest;
    if (/^[?#]/.test(rest)) return `/${rest}`;
  }
  return undefined;
}

// With the default port written out, an origin is still the same.
function spellings(origin: string, scheme: string): readonly string[] {
  const hasPort = /:[0-9]+$/.test(origin);
  return hasPort ? [origin] : [`${origin}:${scheme === 'https:' ? 443 : 80}`, origin];
}

/** A reference without a query key, in any spelling of it. */
function withoutKey(reference: string, key: string): string {
  const mark = reference.indexOf('?');
  if (mark < 0) return reference;
  const hash = reference.indexOf('#', mark);
  const end = hash < 0 ? reference.length : hash;
  const query = withoutKeys(reference.slice(mark + 1, end), new Set([queryName(key)]));
  const head = reference.slice(0, mark) + (query === undefined ? '' : `?${query}`);
  return head + reference.slice(end);
}
