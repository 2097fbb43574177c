// Takes keys out of a query without touching a byte of the rest.

/** Keys that some frameworks take for the method of the request. */
export const OVERRIDE_KEYS: readonly string[] = [
  '_method',
  'x-http-method-override',
  'x-http-method',
  'x-method-override',
];

/**
 * The name of a query key as the laxest upstream may read it: decoded, without the `[…]` of an array, in lower case.
 * Never throws: what cannot be decoded stays as it is.
 */
export function queryName(raw: string): string {
  const spaced = raw.includes('+') ? raw.replaceAll('+', ' ') : raw;
  const decoded = spaced.includes('%') ? decodeLax(spaced) : spaced;
  const bracket = decoded.indexOf('[');
  return (bracket > 0 ? decoded.slice(0, bracket) : decoded).trim().toLowerCase();
}

/** The query without the pairs whose key is in `keys`; undefined when nothing is left of a query that lost some. */
export function withoutKeys(query: string, keys: ReadonlySet<string>): string | undefined {
  if (query === '' || keys.size === 0) return query;
  const parts = splitPairs(query);
  const kept = parts.filter((part) => !keys.has(keyOf(part.text)));
  if (kept.length === parts.length) return query;
  const [first, ...others] = kept;
  if (first === undefined) return undefined;
  return first.text + others.map((part) => part.before + part.text).join('');
}

/** The query with one more pair at its end. */
export const withPair = (query: string | undefined, pair: string): string =>
  query === undefined || query === '' ? pair : `${query}&${pair}`;

type Pair = { readonly before: string; readonly text: string };

// Some upstreams also separate pairs by a semicolon: a key behind one must not slip through.
function splitPairs(query: string): readonly Pair[] {
  const pieces = query.split(/([&;])/);
  const pairs: Pair[] = [];
  for (let at = 0; at < pieces.length; at += 2)
    pairs.push({ before: at === 0 ? '' : (pieces[at - 1] ?? ''), text: pieces[at] ?? '' });
  return pairs;
}

function keyOf(pair: string): string {
  const equals = pair.indexOf('=');
  return queryName(equals < 0 ? pair : pair.slice(0, equals));
}

// Decodes each escape by itself, so that a broken one elsewhere hides nothing.
const decodeLax = (text: string): string =>
  text.replace(/%([0-9A-Fa-f]{2})/g, (_escape, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
