// Reads JSON as people keep it in configuration files: with comments and trailing commas, and strict in all else.
import { type JsonValue, parseStrictJson } from '@daypass/core/json';

/** Reads the text. Comments are blanked out, so that positions in errors stay right. @throws DaypassError `invalid_json` */
export const parseLenientJson = (text: string): JsonValue =>
  parseStrictJson(
    text
      .replace(/^\ufeff/, ' ')
      .replace(TOKENS, blankOut)
      .replace(TRAILING_COMMAS, blankComma),
  );

// A string is matched first, so that what looks like a comment or a comma inside one is left alone.
// One that does not end is matched too, for the strict reader to refuse: a search that gives up starts again.
const TOKENS = /"(?:[^"\\\n]|\\.)*"?|\/\/[^\n]*|\/\*[\s\S]*?(?:\*\/|$)/g;
const TRAILING_COMMAS = /"(?:[^"\\\n]|\\.)*"?|,(?=\s*[}\]])/g;

const blankOut = (token: string): string =>
  token.startsWith('"') || isUnfinished(token) ? token : token.replace(/[^\n]/g, ' ');
const isUnfinished = (token: string): boolean => token.startsWith('/*') && !(token.length >= 4 && token.endsWith('*/'));
// One that stands behind nothing is for the strict reader to refuse.
const blankComma = (token: string, at: number, text: string): string =>
  token.startsWith('"') || '[{,:'.includes(text.slice(0, at).trimEnd().at(-1) ?? ',') ? token : ' ';
