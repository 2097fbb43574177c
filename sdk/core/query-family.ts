// Which query keys may be taken for each other, and what a raw query strictly says.

/**
 * The family of a decoded query key: what is left when case, compatibility forms, the `[…]` of an array and white space
 * around it are set aside, and dots and inner spaces are taken for `_`, as PHP does. Keys of one family may be taken
 * for each other.
 */
export const queryFamily = (name: string): string => {
  if (PLAIN.test(name)) return name.toLowerCase();
  const plain = name.normalize('NFKC').trim();
  const bracket = plain.indexOf('[');
  const base = bracket > 0 ? plain.slice(0, bracket) : plain;
  return base.replace(/[. ]/g, '_').toUpperCase().toLowerCase();
};

const PLAIN = /^[A-Za-z0-9_-]*$/;

/** A query pair. */
export type QueryPair = {
  /** Decoded. */
  readonly name: string;
  /** Decoded; `undefined` if it cannot be decoded, or a semicolon makes it uncertain where it ends. */
  readonly value: string | undefined;
};

/**
 * The pairs of a query by their family, decoded as a form is (`+` is a space). `undefined` if some key is not strict
 * percent-encoded UTF-8, holds a control character or has an unbalanced bracket: then nobody can say which keys there
 * are. What follows a semicolon counts as a pair too, as some servers read it.
 */
export const readQuery = (query: string | undefined): ReadonlyMap<string, readonly QueryPair[]> | undefined => {
  const families = new Map<string, QueryPair[]>();
  if (query === undefined) return families;
  for (const whole of query.split('&')) {
    const pieces = whole.split(';');
    for (const piece of pieces) {
      if (piece === '') continue;
      const equals = piece.indexOf('=');
      const name = decode(equals < 0 ? piece : piece.slice(0, equals));
      if (name === undefined || !isQueryName(name)) return undefined;
      const value = pieces.length > 1 || equals < 0 ? undefined : decode(piece.slice(equals + 1));
      const family = queryFamily(name);
      const pairs = families.get(family);
      if (pairs === undefined) families.set(family, [{ name, value }]);
      else pairs.push({ name, value });
    }
  }
  return families;
};

/** Whether a decoded key is one that everybody reads alike: no control character, and brackets in pairs at its end. */
export const isQueryName = (name: string): boolean => PLAIN.test(name) || (!ODD_NAME.test(name) && isBalanced(name));

const ODD_NAME = /[\p{Cc}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\ufffd]/u;

const isBalanced = (name: string): boolean => /^[^[\]]*(?:\[[^[\]]*\])*$/.test(name);

const decode = (text: string): string | undefined => {
  if (PLAIN.test(text)) return text;
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    return undefined;
  }
};
