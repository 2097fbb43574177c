// Takes keys out of a query without touching a byte of the rest, as the data plane does before rules see it.

/** Keys that some frameworks take for the method of the request. */
export const OVERRIDE_KEYS: readonly string[] = [
  '_method',
  'x-http-method-override',
  'x-http-method',
  'x-method-override',
];

/**
 * The name of a query key as the laxest upstream may read it: decoded, up to a NUL, without the `[…]` of an array, in
 * lower case. Never throws: what cannot be decoded stays as it is.
 */
export const queryName = (raw: string): string => withoutBracket(decodedName(raw));

/** The query without the pairs whose key is in `keys`; undefined when nothing is left of a query that lost some. */
export function withoutKeys(query: string, keys: ReadonlySet<string>): string | undefined {
  if (query === '' || keys.size === 0) return query;
  const parts = splitPairs(query);
  const kept = parts.filter((part) => !isOneOf(keys, part.text));
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

function isOneOf(keys: ReadonlySet<string>, pair: string): boolean {
  const equals = pair.indexOf('=');
  const name = decodedName(equals < 0 ? pair : pair.slice(0, equals));
  return keys.has(withoutBracket(name)) || (PHP_UNDERSCORES.test(name) && keys.has(phpName(name)));
}

function decodedName(raw: string): string {
  const spaced = raw.includes('+') ? raw.replaceAll('+', ' ') : raw;
  const decoded = spaced.includes('%') ? decodeLax(spaced) : spaced;
  const nul = decoded.indexOf('\0');
  return (nul < 0 ? decoded : decoded.slice(0, nul)).trim().toLowerCase();
}

function withoutBracket(name: string): string {
  const bracket = name.indexOf('[');
  return bracket > 0 ? name.slice(0, bracket).trim() : name;
}

/** What PHP takes for `_` in a name; a bracket only if nothing closes it. */
const PHP_UNDERSCORES = /[. []/;

function phpName(name: string): string {
  const bracket = name.indexOf('[');
  const kept = bracket > 0 && name.includes(']', bracket) ? name.slice(0, bracket) : name;
  return kept.replaceAll(/[. []/g, '_');
}

// Decodes each escape by itself, so that a broken one elsewhere hides nothing; the form with `u` is that of old servers.
const decodeLax = (text: string): string =>
  text.replace(/%(?:u00)?([0-9A-Fa-f]{2})/g, (_escape, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
