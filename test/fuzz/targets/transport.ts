// Fuzzes the transport's reading of requests against that of node:http: never laxer, and stricter only where it is named.
import { FRAMING, OFFER, type Oracle, type Pair, startOracle, type Taken } from '../../data-plane/transport-oracle.ts';
import type { FuzzTarget } from '../engine.ts';
import { MANY, requests } from '../http-grammar.ts';
import { createRandom } from '../mutator.ts';

/** Where the transport refuses what node:http takes, or ends a connection that node:http keeps. */
type Stricter = { readonly why: string; readonly holds: (pair: Pair, input: string) => boolean };

/** Each of them is a choice; there is no other place. */
export const STRICTER: readonly Stricter[] = [
  {
    // RFC 9112 §6.3: Transfer-Encoding other than `chunked` alone, or with HTTP/1.0, or beside a length.
    why: 'there is one way to say where a body ends',
    holds: ({ transport }) => transport.refused === FRAMING,
  },
  {
    // RFC 9110 §8.6: blanks around the digits are no part of them, but the parser as it is shipped knows spaces alone.
    why: 'a length is followed by no tab',
    holds: ({ transport }, input) =>
      transport.refused === 'HPE_INVALID_CONTENT_LENGTH' && /content-length:[\t ]*[0-9]+ *\t/i.test(input),
  },
  {
    // RFC 9112 §9.3; with HTTP/1.0, node:http keeps a connection that says both.
    why: 'who says close is taken at his word, though he says keep-alive too',
    holds: ({ transport: { taken, refused } }) => refused === '' && saysBoth(taken.at(-1)?.fields ?? []),
  },
  {
    // node:http counts names and values alone, so that blanks around values and empty lines are without end.
    why: 'all bytes of a head have a limit',
    holds: ({ transport }) => transport.refused === 'HPE_HEADER_OVERFLOW',
  },
  {
    // node:http counts the bytes of extensions of one chunk; here it is what stands between two parts of a body.
    why: 'what stands between two parts of a body has a limit',
    holds: ({ transport }) => transport.refused === 'HPE_CHUNK_EXTENSIONS_OVERFLOW',
  },
];

/**
 * Where it takes what node:http, whose parser is newer, refuses. Both are of trailers, which are dropped, so that they
 * frame nothing: a coding without a name, and a `close` with a tab behind it.
 */
export const LAXER: readonly RegExp[] = [
  /\r\n0+[^\r\n]*\r\n(?:[^\r\n]+\r\n)*transfer-encoding:[\t ]*\r\n/i,
  /\r\n0+[^\r\n]*\r\n(?:[^\r\n]+\r\n)*connection:[^\r\n]*close *\t/i,
];

/** Says in what the two readings differ; empty: in nothing that is not named. */
export function difference(pair: Pair, input: string): string {
  const { oracle, transport } = pair;
  const at = transport.taken.findIndex((taken, nth) => !isSame(taken, oracle.taken[nth]));
  const keeps = oracle.isClosed && !transport.isClosed;
  if ((at === oracle.taken.length || (at < 0 && keeps)) && LAXER.some((form) => form.test(input))) return '';
  if (at >= 0) return `request ${at} is not what node:http takes`;
  if (keeps) return `node:http ends the connection (${oracle.refused})`;
  const isStricter =
    transport.taken.length < oracle.taken.length ||
    (transport.refused !== '' && oracle.refused === '') ||
    (transport.isClosed && !oracle.isClosed);
  if (!isStricter || STRICTER.some(({ holds }) => holds(pair, input))) return '';
  return `it is stricter in what is not named (${transport.refused})`;
}

const saysBoth = (fields: readonly string[]): boolean => {
  const said = fields.filter((_part, at) => at % 2 === 1 && /^connection$/i.test(fields[at - 1] ?? '')).join();
  return /\bclose\b/i.test(said) && /\bkeep-alive\b/i.test(said);
};

const isSame = (taken: Taken, other: Taken | undefined): boolean =>
  other !== undefined &&
  taken.method === other.method &&
  isSamePart(taken.target, other.target) &&
  taken.version === other.version &&
  isSamePart(taken.body, other.body) &&
  taken.fields.length === other.fields.length &&
  taken.fields.every((part, at) => isSamePart(part, other.fields[at]));

const isSamePart = (part: string, other: string | undefined): boolean =>
  part === other || part.replaceAll(/u/gi, OFFER) === other?.replaceAll(/u/gi, OFFER);

/** Cut as the octets themselves say, so that an input is the same each time. */
function cut(input: string): { readonly pieces: readonly string[]; readonly ends: boolean } {
  let seed = input.length;
  for (let at = 0; at < input.length; at += 1) seed = (Math.imul(seed, 31) + input.charCodeAt(at)) | 0;
  const random = createRandom(seed);
  const cuts = [...Array.from({ length: random.int(4) }, () => random.int(input.length + 1)), 0, input.length];
  cuts.sort((one, other) => one - other);
  const pieces = cuts.slice(1).map((to, at) => input.slice(cuts[at], to));
  return { pieces: pieces.filter((piece) => piece !== ''), ends: random.onceIn(3) };
}

let oracle: Promise<Oracle> | undefined;

/** Octets of a connection. */
export const transport: FuzzTarget = {
  name: 'transport',
  input: 'bytes',
  dictionary: [
    ...[
      '\r\n',
      '\n',
      '\r',
      '\x00',
      ' ',
      '\t',
      ':',
      ';',
      ',',
      '0',
      '0\r\n\r\n',
      '3\r\nabc\r\n',
      'GET / HTTP/1.1\r\n',
      '\r\n\r\n',
    ],
    ...[
      'Content-Length: ',
      'Transfer-Encoding: chunked\r\n',
      'Connection: close\r\n',
      'HTTP/1.0',
      'Upgrade: x\r\n',
      '\x7f',
      '\xff',
    ],
  ],
  maxLength: MANY,
  make: requests,
  async run(input) {
    oracle ??= startOracle();
    const { pieces, ends } = cut(input);
    const pair = await (await oracle).read(pieces, ends);
    const what = difference(pair, input);
    const { taken, refused, isClosed } = pair.transport;
    const said = `${taken.length} taken, ${refused === '' ? 'none' : refused} refused, ${isClosed ? 'closed' : 'kept'}`;
    // How long two servers take says nothing of one input.
    return { outcome: what === '' ? said : new Error(`${what}: ${JSON.stringify(pair).slice(0, 2_000)}`), ms: 0 };
  },
};
