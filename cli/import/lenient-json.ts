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
const TOKENS = /"(?:[^"\\\n]|\\.)*"|\/\/[^\n]*|\/\*[\s\S]*?\*\//g;
const TRAILING_COMMAS = /"(?:[^"\\\n]|\\.)*"|(?<![[{,:]\s*),(?=\s*[}\]])/g;

const blankOut = (token: string): string => (token.startsWith('"') ? token : token.replace(/[^\n]/g, ' '));
const blankComma = (token: string): string => (token.startsWith('"') ? token : ' ');
