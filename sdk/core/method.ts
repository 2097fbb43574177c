// Which texts are HTTP methods, and which are never forwarded.

/** Methods that no rule can grant: they tunnel, or echo the request with its credential. */
export const NEVER_FORWARDED: ReadonlySet<string> = new Set(['CONNECT', 'TRACE', 'TRACK']);

/**
 * Whether `text` is a method that Daypass knows how to compare: an upper-case token (RFC 9110 §9.1) of at most 32
 * letters, digits, `-` and `_`. Narrower than the RFC, so that no method can be confused with `*` or a list.
 */
export const isMethod = (text: string): boolean => METHOD.test(text);

const METHOD = /^[A-Z][A-Z0-9_-]{0,31}$/;
