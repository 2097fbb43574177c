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
 * JSON or HTML escape. Texts are header values as node gives them: one character a byte. A text that would take too
 * long to search is taken to hold a needle, all of it.
 */
export function createScrubber(needles: readonly string[]): Scrubber {
  const found = [...new Set(needles)].filter((needle) => needle !== '').map((needle) => Buffer.from(needle));
  // Longest first: what one needle leaves standing of another would give it away.
  const byStart = byFirst(found.toSorted((a, b) => b.length - a.length));
  return {
    finds: (text) => find(text, 0, byStart, { left: STEPS_MAX }) !== undefined,
    scrub(text) {
      const steps = { left: STEPS_MAX };
      let clean = '';
      let at = 0;
      for (;;) {
        const place = find(text, at, byStart, steps);
        if (place === undefined) return clean + text.slice(at);
        if (steps.left < 0) return REDACTED;
        clean += text.slice(at, place.start) + REDACTED;
        at = place.end;
      }
    },
  };
}

/** Characters looked at in one text; some 20 ms. Only a text made of parts of the credential needs so many. */
const STEPS_MAX = 16_000_000;
type Steps = { left: number };
type Place = { readonly start: number; readonly end: number };

const [PERCENT, AMPERSAND, BACKSLASH, PLUS, BLANK] = [0x25, 0x26, 0x5c, 0x2b, 0x20];

/** Characters that may be the first of an escape. */
const ESCAPES = new Uint8Array(256);
for (const code of [PERCENT, AMPERSAND, BACKSLASH, PLUS]) ESCAPES[code] = 1;

type Needles = readonly Uint8Array[];
/** The needles that may begin with a character, by its code: at an escape all of them. */
type ByStart = readonly (Needles | undefined)[];

const byFirst = (needles: Needles): ByStart =>
  Array.from({ length: 256 }, (_none, code) => {
    const fit = ESCAPES[code] === 1 ? needles : needles.filter(([first]) => first === code);
    return fit.length === 0 ? undefined : fit;
  });

function find(text: string, from: number, byStart: ByStart, steps: Steps): Place | undefined {
  for (let start = from; start < text.length; start += 1) {
    const needles = byStart[text.charCodeAt(start)];
    if (needles === undefined) continue;
    for (const needle of needles) {
      const end = endOf(needle, text, start, steps);
      if (end !== undefined) return { start, end };
    }
    if (steps.left < 0) return { start, end: text.length };
  }
  return undefined;
}

/** Where a needle that starts there ends; undefined when there is none. */
function endOf(needle: Uint8Array, text: string, start: number, steps: Steps): number | undefined {
  // As long as nothing can be an escape, there is one reading.
  for (let at = 0; at < needle.length; at += 1) {
    const code = text.charCodeAt(start + at);
    steps.left -= 1;
    if (ESCAPES[code] === 1) return endOfEscaped(needle.subarray(at), text, start + at, steps);
    if (code !== needle[at]) return undefined;
  }
  return start + needle.length;
}

function endOfEscaped(needle: Uint8Array, text: string, start: number, steps: Steps): number | undefined {
  let ends = new Set([start]);
  for (const byte of needle) {
    const next = new Set<number>();
    for (const end of ends) addEnds(next, text, end, byte);
    steps.left -= 16 * ends.size;
    if (next.size === 0 || steps.left < 0) return undefined;
    ends = next;
  }
  return Math.max(...ends);
}

/** Adds where a byte ends that is written at a place: as itself, with a backslash before it, or as an escape. */
function addEnds(ends: Set<number>, text: string, at: number, byte: number): void {
  const code = text.charCodeAt(at);
  if (code === byte || (code === PLUS && byte === BLANK)) ends.add(at + 1);
  if (code === PERCENT) addPercentEnds(ends, text, at + 1, byte);
  else if (code === BACKSLASH) {
    if (text.charCodeAt(at + 1) === byte) ends.add(at + 2);
    if (text.startsWith('u00', at + 1) && byteAt(text, at + 4) === byte) ends.add(at + 6);
  } else if (code === AMPERSAND) {
    ENTITY.lastIndex = at;
    const entity = ENTITY.exec(text);
    if (entity !== null && entityByte(entity) === byte) ends.add(at + entity[0].length);
  }
}

function addPercentEnds(ends: Set<number>, text: string, from: number, byte: number): void {
  for (let layer = 0, at = from; layer <= LAYERS_MAX; layer += 1, at += 2) {
    if (byteAt(text, at) === byte) ends.add(at + 2);
    if (!text.startsWith('25', at)) return;
  }
}

/** How often a percent sign is taken to be encoded again. */
const LAYERS_MAX = 3;

const byteAt = (text: string, at: number): number => {
  const hex = text.slice(at, at + 2);
  return /^[0-9A-Fa-f]{2}$/.test(hex) ? Number.parseInt(hex, 16) : -1;
};

const ENTITY = /&(?:#0{0,4}([0-9]{1,3})|#[xX]0{0,4}([0-9A-Fa-f]{1,2})|(amp|lt|gt|quot|apos));/y;
const NAMED: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

const entityByte = ([, decimal, hex, name]: RegExpExecArray): number => {
  if (decimal !== undefined) return Number(decimal);
  return hex === undefined ? (NAMED[name ?? ''] ?? '').charCodeAt(0) : Number.parseInt(hex, 16);
};
