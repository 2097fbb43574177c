// Reads the path of an OpenAPI operation, and writes it as the path of a rule.

import { findAmbiguity } from './ambiguity.ts';
import { patternOf } from './pattern.ts';
import { MAX_RULE_CHARS } from './rule.ts';
import { SEGMENT_NAME } from './rule-template.ts';

/** A piece of a segment: text as it stands in a URL, or a parameter. */
export type Piece = { readonly kind: 'text'; readonly text: string } | { readonly kind: 'name'; readonly name: string };

/** A path between its slashes. */
export type ApiPath = {
  readonly segments: readonly (readonly Piece[])[];
  /** What each segment is. */
  readonly shapes: readonly Shape[];
  /** Parameters whose value may hold slashes. */
  readonly greedy: ReadonlySet<string>;
};

/** A text, `true` for a parameter alone, `false` for a mixture. */
export type Shape = string | boolean;

/** A path, or why no rule can say it. */
export type PathReading = ApiPath | { readonly problem: string };

/** Reads a key of `paths`; `greedy` names parameters that the document says may hold slashes. */
export const readApiPath = (key: string, greedy: ReadonlySet<string>): PathReading => {
  if (!key.startsWith('/')) return { problem: 'its path does not begin with a slash' };
  if (/[?#]/.test(key)) return { problem: 'its path has a query or a fragment' };
  const parts = key.slice(1).split('/');
  if (parts.length > MAX_RULE_CHARS / 2) return { problem: 'its path is longer than a rule may be' };
  const all = new Set(greedy);
  const names = new Set<string>();
  const segments: Piece[][] = [];
  for (const text of parts) {
    const pieces = readSegment(text, all);
    if (pieces === undefined) return { problem: 'its path has braces that are empty or do not match' };
    for (const piece of pieces) {
      if (piece.kind === 'name' && names.has(piece.name))
        return { problem: `{${piece.name}} occurs twice in its path` };
      if (piece.kind === 'name') names.add(piece.name);
    }
    segments.push(pieces);
  }
  const sample = segments.map((pieces) => pieces.map((piece) => (piece.kind === 'name' ? 'x' : piece.text)).join(''));
  const ambiguity = findAmbiguity(`/${sample.join('/')}`, true);
  if (ambiguity !== undefined) return { problem: `its path has ${ambiguity.reason}, which no request may have` };
  return { segments, shapes: segments.map(shapeOf), greedy: all };
};

const readSegment = (text: string, greedy: Set<string>): Piece[] | undefined => {
  const pieces: Piece[] = [];
  let at = 0;
  for (const { 0: whole, 1: inner = '', index } of text.matchAll(/\{([^{}]+)\}/g)) {
    if (index > at) pieces.push({ kind: 'text', text: encode(text.slice(at, index)) });
    // `{+path}` of RFC 6570 and `{proxy+}` of gateways: slashes as they are.
    const name = inner.replace(/^\+|\+$/g, '');
    if (name !== inner) greedy.add(name);
    pieces.push({ kind: 'name', name });
    at = index + whole.length;
  }
  if (at < text.length || pieces.length === 0) pieces.push({ kind: 'text', text: encode(text.slice(at)) });
  return pieces.some((piece) => (piece.kind === 'text' ? /[{}]/.test(piece.text) : piece.name === ''))
    ? undefined
    : pieces;
};

/** What may not stand in a URL becomes its percent-encoding (RFC 3986 §2.1), as clients send it. */
const encode = (text: string): string =>
  text.toWellFormed().replace(/[^!-~]|["<>[\]^`|]/gu, (character) => encodeURIComponent(character));

/** How a path is said by a rule. */
export type Said =
  /** Segment by segment; the last one stands for one segment, or for any number of them. */
  | { readonly kind: 'template'; readonly text: string }
  /** By a pattern, since a parameter is a part of a segment; it takes no conditions. */
  | { readonly kind: 'pattern'; readonly text: string };

/** Writes a path; `restOpen`: its last parameter stands for all that follows. */
export const sayPath = ({ segments }: ApiPath, restOpen: boolean): Said => {
  if (segments.some((pieces) => pieces.length > 1 || isStarred(pieces))) {
    const parts = segments.map((pieces) =>
      pieces.map((piece) => (piece.kind === 'name' ? '[^/]+' : patternOf(piece.text))),
    );
    return { kind: 'pattern', text: `~/${parts.map((part) => part.join('')).join('/')}` };
  }
  const names = legalNames(
    segments.flatMap((pieces) => pieces.flatMap((piece) => (piece.kind === 'name' ? piece.name : []))),
  );
  const texts = segments.map(([piece]) => {
    if (piece === undefined) return '';
    return piece.kind === 'text' ? piece.text : `{${names.get(piece.name) ?? ''}}`;
  });
  return { kind: 'template', text: `/${(restOpen ? [...texts.slice(0, -1), '**'] : texts).join('/')}` };
};

const isStarred = ([piece]: readonly Piece[]): boolean => piece?.kind === 'text' && piece.text.includes('*');

/** A legal name for each name: itself, or one like it that nobody else has. */
const legalNames = (names: readonly string[]): ReadonlyMap<string, string> => {
  const taken = new Set(names.filter((name) => SEGMENT_NAME.test(name)));
  const legal = new Map([...taken].map((name) => [name, name]));
  for (const name of names) {
    if (legal.has(name)) continue;
    const like =
      name
        .replace(/[^A-Za-z0-9]+/g, '_')
        .replace(/^(?=\d)/, '_')
        .slice(0, 60) || '_';
    let made = like;
    for (let count = 2; taken.has(made); count += 1) made = `${like}_${count}`;
    taken.add(made);
    legal.set(name, made);
  }
  return legal;
};

const shapeOf = (pieces: readonly Piece[]): Shape => {
  const [one] = pieces;
  if (one === undefined || pieces.length > 1) return false;
  return one.kind === 'text' ? one.text : true;
};
