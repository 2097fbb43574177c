// What a credential looks like on a request, worked out once for each opened seal, and how to take it out of answers.
import { DaypassError } from '@daypass/core/errors';
import { secretProblem } from '@daypass/core/place';
import type { OpenedSeal } from '@daypass/core/seal';
import { createScrubber, type Scrubber } from './scrub.ts';
import { type RequestLines, requestLines } from './transport/head-text.ts';

/** A credential ready to be put on. What it holds prints as nothing. */
export type Injection = {
  /** The header field, if that is the place. */
  lines(): RequestLines;
  /** The query pair, if that is the place. */
  pair(): string | undefined;
  readonly scrubber: Scrubber;
};

/** Works out a seal's credential. Throws `seal_malformed` for a secret that cannot stand at its place. */
export function prepareInjection(seal: OpenedSeal): Injection {
  const { place } = seal;
  const secret = seal.secret.reveal();
  if (secretProblem(secret, place) !== undefined)
    throw new DaypassError('seal_malformed', 'The sealed credential cannot stand at its place');
  const lines = requestLines(fieldOf(place, secret));
  const pair = place.kind === 'query' ? `${encodeURIComponent(place.name)}=${encodeURIComponent(secret)}` : undefined;
  return {
    lines: () => lines,
    pair: () => pair,
    scrubber: createScrubber(needles(secret, place.kind)),
  };
}

function fieldOf(place: OpenedSeal['place'], secret: string): readonly string[] {
  switch (place.kind) {
    case 'bearer':
      return ['authorization', `Bearer ${secret}`];
    case 'basic':
      return ['authorization', `Basic ${Buffer.from(secret).toString('base64')}`];
    case 'header':
      // A function, because a replacement text would give `$&` in a secret a meaning.
      return [place.name, place.template.replace('{secret}', () => secret)];
    case 'query':
      return [];
    default:
      return place satisfies never;
  }
}

/** The shortest half of a `user:password` that is taken for a secret of its own, unless it is the password. */
const SHORTEST_HALF = 8;

// `user:password` is scrubbed whole and in its halves: some services put the key in one of them and a word in the other.
function needles(secret: string, kind: OpenedSeal['place']['kind']): readonly string[] {
  const forms = [secret, ...encodings(Buffer.from(secret))];
  if (kind !== 'basic') return forms;
  const colon = secret.indexOf(':');
  const user = secret.slice(0, colon);
  const password = secret.slice(colon + 1);
  return [...forms, ...(password === '' ? [] : [password]), ...(user.length >= SHORTEST_HALF ? [user] : [])];
}

/** The shortest piece of base64 that is taken for a part of an encoded secret. */
const SHORTEST_PIECE = 10;

/** A secret in hexadecimal and in base64: whole, and as it stands inside of something longer that was encoded. */
function encodings(secret: Buffer): readonly string[] {
  const hex = secret.toString('hex');
  const inside = [0, 1, 2].map((before) => {
    const bits = Buffer.concat([Buffer.alloc(before), secret])
      .toString('base64')
      .replaceAll('=', '');
    // The first and the last character may also hold bits of what stands around the secret.
    return bits.slice(Math.ceil((before * 8) / 6), Math.floor(((before + secret.length) * 8) / 6));
  });
  const base64 = [secret.toString('base64'), ...inside.filter((piece) => piece.length >= SHORTEST_PIECE)];
  const base64url = base64.map((piece) => piece.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', ''));
  return [...base64, ...base64url, hex, hex.toUpperCase()];
}
