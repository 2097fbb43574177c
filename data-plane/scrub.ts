// Takes a credential out of response heads, however an upstream may have written it.

/** What stands where a credential stood. */
export const REDACTED = '[redacted]';

/** Finds and replaces one credential. What it looks for cannot be printed. */
export type Scrubber = {
  /** Whether the text holds it. */
  finds(text: string): boolean;
  /** The text with `[redacted]` at each place. */
  scrub(text: string): string;
};

/**
 * Looks for the needles raw, and with any of their bytes percent-encoded (once or more, in any case) or written as a
 * JSON or HTML escape. Texts are header values as node gives them: one character a byte.
 */
export function createScrubber(needles: readonly string[]): Scrubber {
  const found = [...new Set(needles)].filter((needle) => needle !== '');
  // Longest first: what one needle leaves standing of another would give it away.
  const sources = found.toSorted((a, b) => b.length - a.length).map(sourceOf);
  const pattern = sources.length === 0 ? /$^/g : new RegExp(sources.join('|'), 'g');
  return {
    finds(text) {
      pattern.lastIndex = 0;
      return pattern.test(text);
    },
    scrub: (text) => text.replace(pattern, REDACTED),
  };
}

const sourceOf = (needle: string): string => [...Buffer.from(needle)].map(byteSource).join('');

/** One byte: as itself, with a backslash before it, or as a percent, JSON or HTML escape. */
function byteSource(byte: number): string {
  const hex = byte.toString(16).padStart(2, '0');
  const anyCase = [...hex].map((digit) => (/[a-f]/.test(digit) ? `[${digit}${digit.toUpperCase()}]` : digit)).join('');
  const raw = `\\x${hex}`;
  const blank = byte === 0x20 ? '|\\+' : '';
  return `(?:\\\\?${raw}|%(?:25){0,3}${anyCase}|\\\\u00${anyCase}|&#0{0,4}${byte};|&#[xX]0{0,4}${anyCase};${blank})`;
}
