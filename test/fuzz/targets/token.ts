// Fuzzes the token verifier: it accepts the one text that the key signed, and reads of it what any JSON parser reads.
import { sign } from 'node:crypto';
import { importEd25519 } from '@daypass/core/key';
import { type VerificationKey, type VerifiedClaims, verifyToken } from '@daypass/core/token';
import { claims, FLEET, ISSUER } from '../../core/fixture.ts';
import { type FuzzTarget, targetOf } from '../engine.ts';
import { fixedKey } from '../keys.ts';
import { must } from '../must.ts';
import { mutateJson } from '../mutate-json.ts';
import { mutateText, type Random, type Words } from '../mutator.ts';

const KID = 'fuzz';
const ours = fixedKey('Ed25519', 'tokens of this fleet');
const others = fixedKey('Ed25519', 'tokens of another');
const imported = await importEd25519({ kty: 'OKP', crv: 'Ed25519', x: ours.x }, 'verify');

let reached = 0;
const key: VerificationKey = {
  alg: 'Ed25519',
  issuer: ISSUER,
  // Asked for only to check a signature.
  get key() {
    reached += 1;
    return imported;
  },
};
const trusted = { keys: new Map([[KID, key]]), audience: FLEET };

const encode = (text: string): string => Buffer.from(text, 'utf8').toString('base64url');
const decode = (text: string): string => Buffer.from(text, 'base64url').toString('utf8');
const signed = (input: string, by = ours): string =>
  `${input}.${sign(null, Buffer.from(input), by.privateKey).toString('base64url')}`;

const HEADER = JSON.stringify({ alg: 'Ed25519', typ: 'at+jwt', kid: KID });
const status = (idx: number) => ({ status_list: { idx, uri: `${ISSUER}/statuslists/3` } });
const parent = { jti: 'parent', client_id: 'planner', sub: 'octo', iat: claims.iat, status: status(9) };
const jkt = 'NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs';
const FULL = JSON.stringify({
  ...{ ...claims, act: { sub: 'a', act: { sub: 'b' } }, parents: [parent, { ...parent, jti: 'p2' }] },
  ...{ cnf: { jkt }, credential: 'a.b.c.d.e' },
});

const names = [
  'alg',
  'typ',
  'kid',
  'crit',
  'b64',
  'jwk',
  'iss',
  'aud',
  'sub',
  'client_id',
  'caller',
  'jti',
  'iat',
  'nbf',
]
  .concat(['exp', 'service', 'allowed', 'scope_version', 'credential', 'cnf', 'jkt', 'act', 'parents', 'status'])
  .concat(['status_list', 'idx', 'uri', '__proto__', 'constructor', 'toString', '']);
const values = [
  ...[null, true, false, 0, -1, 1, 1.5, 7, 65_535, 65_536, 1e308, 253_402_300_799, claims.iat, claims.exp, '', ' '],
  ...['none', 'HS256', 'ES256', 'EdDSA', 'Ed25519', 'JWT', 'at+jwt', KID, ISSUER, FLEET, [], {}, [[]], [{}], ['alg']],
  ...[{ jkt }, { jkt, x: 1 }, parent, [parent], Array(9).fill(parent), status(0), status(65_536), { sub: 'x' }],
  ...['a\u0000', '\ud800', 'x'.repeat(300), Array(1001).fill('GET /a'), `${ISSUER}/statuslists/00`],
];

const partsOf = (text: string): readonly [string, string, string] => {
  const [head = '', body = '', signature = ''] = text.split('.');
  return [head, body, signature];
};

const make = (random: Random, text: string, words: Words): string => {
  const [head, body, signature] = partsOf(text);
  const json = { names, values };
  switch (random.int(8)) {
    case 0:
      return signed(`${encode(mutateJson(random, decode(head), json))}.${body}`);
    case 1:
    case 2:
      return signed(`${head}.${encode(mutateJson(random, random.onceIn(3) ? FULL : decode(body), json))}`);
    case 3:
      // Text that is no JSON any more, signed all the same.
      return signed(`${head}.${encode(mutateText(random, decode(body), words))}`);
    case 4:
      return `${head}.${encode(mutateJson(random, decode(body), json))}.${signature}`;
    case 5: {
      const bytes = Buffer.from(signature, 'base64url').toString('latin1');
      const changed = mutateText(random, bytes, { ...words, maxCode: 0xff });
      return `${head}.${body}.${Buffer.from(changed, 'latin1').toString('base64url')}`;
    }
    case 6:
      return signed(`${head}.${mutateText(random, body, words)}`, random.onceIn(4) ? others : ours);
    default: {
      // Another text of the same bytes, if the reader takes one.
      const part = random.int(3);
      return [head, body, signature].map((one, at) => (at === part ? mutateTail(random, one) : one)).join('.');
    }
  }
};

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/= \n';
const mutateTail = (random: Random, part: string): string => part.slice(0, -1) + random.pick(ALPHABET);

const check = (text: string, accepted: VerifiedClaims): string => {
  const [head, body] = partsOf(text);
  must(text === signed(`${head}.${body}`), 'accepted a text that the key did not sign');
  const header: unknown = JSON.parse(decode(head));
  must(JSON.stringify(header) === HEADER || sameMembers(header, HEADER), 'accepted another header');
  const payload: unknown = JSON.parse(decode(body));
  must(typeof payload === 'object' && payload !== null, 'accepted a payload that is no object');
  for (const [name, value] of Object.entries(accepted)) {
    const said: unknown = Reflect.get(payload, name);
    must(Object.hasOwn(payload, name) && isWithin(value, said), `read another ${name} than JSON.parse`);
  }
  const { iss, aud, iat, nbf, exp, allowed, parents = [], cnf } = accepted;
  must(iss === ISSUER && aud === FLEET, 'accepted another issuer or fleet');
  must(exp > iat && exp > nbf && iat >= 0 && nbf >= 0 && Number.isFinite(exp), 'accepted times without an order');
  must(allowed.length > 0 && parents.length <= 8, 'accepted no rules, or too many parents');
  must('cnf' in payload === (cnf !== undefined), 'lost the sender constraint');
  must('parents' in payload === 'parents' in accepted, 'lost the parents');
  return `accepted with ${Object.keys(accepted).length} claims, ${parents.length} parents`;
};

const sameMembers = (value: unknown, json: string): boolean => {
  const wanted: Record<string, unknown> = JSON.parse(json);
  if (typeof value !== 'object' || value === null || Object.keys(value).length !== Object.keys(wanted).length)
    return false;
  return Object.entries(wanted).every(([name, one]) => Reflect.get(value, name) === one);
};

/** Whether all that was read was said; the reader leaves out what it does not know. */
const isWithin = (read: unknown, said: unknown): boolean => {
  if (Array.isArray(read))
    return Array.isArray(said) && said.length === read.length && read.every((one, at) => isWithin(one, said[at]));
  if (typeof read !== 'object' || read === null) return Object.is(read, said);
  return Object.entries(read).every(
    ([name, one]) =>
      typeof said === 'object' && said !== null && Object.hasOwn(said, name) && isWithin(one, Reflect.get(said, name)),
  );
};

const seeds = [JSON.stringify(claims), FULL].map((payload) => signed(`${encode(HEADER)}.${encode(payload)}`));

/** Tokens: changed bytes, segments and members, signed again or not. */
export const token: FuzzTarget = targetOf<VerifiedClaims>({
  name: 'token',
  input: 'text',
  dictionary: [
    '.',
    '..',
    '=',
    '==',
    '-',
    '_',
    '+',
    '/',
    ' ',
    '\n',
    'A',
    'e30',
    'bnVsbA',
    '"',
    '{',
    '}',
    '[',
    ']',
    ',',
    ':',
  ],
  maxLength: 6200,
  codes: [
    ...(['token_malformed', 'token_key_unknown', 'token_signature_invalid'] as const),
    ...(['token_issuer_wrong', 'token_audience_wrong'] as const),
  ],
  seeds,
  make,
  read: (text) => verifyToken(text, trusted),
  check,
  note: () => `${reached} signatures checked`,
});
