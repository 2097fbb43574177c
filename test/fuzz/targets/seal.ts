// Fuzzes the opener of sealed credentials: it opens what was sealed to its key, by Node's own ciphers, and nothing else.
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createPublicKey,
  diffieHellman,
  type KeyObject,
} from 'node:crypto';
import type { DaypassError } from '@daypass/core/errors';
import { importX25519 } from '@daypass/core/key';
import { type OpenedSeal, openSeal } from '@daypass/core/seal';
import { plaintext } from '../../core/fixture.ts';
import { type FuzzTarget, targetOf } from '../engine.ts';
import { fixedKey } from '../keys.ts';
import { must } from '../must.ts';
import { mutateJson } from '../mutate-json.ts';
import { mutateText, type Random, type Words } from '../mutator.ts';

const KID = 'fuzz';
const pool = fixedKey('X25519', 'the key of the pool');
const ephemeral = fixedKey('X25519', 'the key of a sender');
const jwk = pool.privateKey.export({ format: 'jwk' });
const opening = await importX25519({ kty: 'OKP', crv: 'X25519', x: pool.x, d: jwk.d ?? '' }, 'open');

let reached = 0;
class Counted extends Map<string, typeof opening> {
  override get(kid: string): typeof opening | undefined {
    const found = super.get(kid);
    if (found !== undefined) reached += 1;
    return found;
  }
}
const keys = new Counted([[KID, opening]]);

const b64 = (bytes: Uint8Array | string): string => Buffer.from(bytes).toString('base64url');
const decode = (text: string): string => Buffer.from(text, 'base64url').toString('utf8');
const HEADER = JSON.stringify({
  ...{ alg: 'ECDH-ES', enc: 'A256GCM', typ: 'daypass-sealed+json', kid: KID },
  epk: { kty: 'OKP', crv: 'X25519', x: ephemeral.x },
});

// RFC 7518 §4.6.2: SHA-256 over a counter, Z, the algorithm, empty apu and apv, and the length of the key.
const contentKey = (from: KeyObject, to: KeyObject): Buffer => {
  const counted = (text: string): Buffer => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(text.length);
    return Buffer.concat([length, Buffer.from(text)]);
  };
  const one = Buffer.from([0, 0, 0, 1]);
  const bits = Buffer.from([0, 0, 1, 0]);
  const z = diffieHellman({ privateKey: from, publicKey: to });
  return createHash('sha256')
    .update(Buffer.concat([one, z, counted('A256GCM'), counted(''), counted(''), bits]))
    .digest();
};
const CEK = contentKey(ephemeral.privateKey, pool.publicKey);
const IV = Buffer.alloc(12, 7);

const seal = (text: string | Buffer, header: string = HEADER): string => {
  const bytes = Buffer.from(text);
  const padded = Buffer.concat([bytes, Buffer.alloc((64 - (bytes.length % 64)) % 64, 0x20)]);
  const cipher = createCipheriv('aes-256-gcm', CEK, IV).setAAD(Buffer.from(b64(header)));
  const ciphertext = Buffer.concat([cipher.update(padded), cipher.final()]);
  return [b64(header), '', b64(IV), b64(ciphertext), b64(cipher.getAuthTag())].join('.');
};

/** What Node's ciphers make of it; throws where they refuse. */
const unseal = (jwe: string): string => {
  const [head = '', , iv = '', ciphertext = '', tag = ''] = jwe.split('.');
  const { epk }: { epk: { kty: string; crv: string; x: string } } = JSON.parse(decode(head));
  const sender = createPublicKey({ key: epk, format: 'jwk' });
  const decipher = createDecipheriv('aes-256-gcm', contentKey(pool.privateKey, sender), Buffer.from(iv, 'base64url'))
    .setAAD(Buffer.from(head))
    .setAuthTag(Buffer.from(tag, 'base64url'));
  return Buffer.concat([decipher.update(Buffer.from(ciphertext, 'base64url')), decipher.final()]).toString('utf8');
};

const names = ['alg', 'enc', 'typ', 'kid', 'epk', 'zip', 'crit', 'apu', 'kty', 'crv', 'x', 'y', 'd', 'v', 'id', 'fleet']
  .concat([
    'pool',
    'service',
    'origins',
    'place',
    'kind',
    'name',
    'template',
    'rules',
    'callers',
    'nbf',
    'exp',
    'secret',
  ])
  .concat(['__proto__', 'constructor', '']);
const values = [
  ...[
    null,
    true,
    0,
    1,
    2,
    -1,
    1.5,
    1e308,
    '',
    ' ',
    '*',
    'dir',
    'A128GCM',
    'DEF',
    'P-256',
    'EC',
    KID,
    ephemeral.x,
    pool.x,
  ],
  ...[b64(Buffer.alloc(32)), 'https://api.github.com', 'https://a.example:443', 'http://a', [], {}, ['*'], ['ci', '*']],
  ...[
    { kind: 'bearer' },
    { kind: 'basic' },
    { kind: 'query', name: 'key' },
    { kind: 'header', name: 'x-key', template: '{secret}' },
  ],
  ...[
    'GET /a',
    ['GET /a', 'POST /b where body.a = 1'],
    ['scope:x'],
    ['op:x'],
    ['GET ~/a+'],
    'a:b',
    'a\r\nb',
    'é',
    '\u2028',
  ],
];

const make = (random: Random, text: string, words: Words): string => {
  const json = { names, values };
  const parts = text.split('.');
  const [head = ''] = parts;
  switch (random.int(6)) {
    case 0:
      return seal(JSON.stringify(plaintext), mutateJson(random, decode(head), json));
    case 1:
    case 2:
      return seal(mutateJson(random, opened(text), json));
    case 3:
      return seal(mutateText(random, opened(text), words));
    case 4:
      return [b64(mutateJson(random, decode(head), json)), ...parts.slice(1)].join('.');
    default: {
      const at = random.int(parts.length);
      const bytes = Buffer.from(parts[at] ?? '', 'base64url').toString('latin1');
      const changed = mutateText(random, bytes, { ...words, maxCode: 0xff });
      return parts.with(at, b64(Buffer.from(changed, 'latin1'))).join('.');
    }
  }
};

const opened = (jwe: string): string => {
  try {
    return unseal(jwe).trimEnd();
  } catch {
    return JSON.stringify(plaintext);
  }
};

const check = (jwe: string, { secret, ruleTexts, rules: _, ...rest }: OpenedSeal): string => {
  const parts = jwe.split('.');
  must(parts.length === 5 && parts[1] === '', 'opened something that has not five parts');
  for (const part of parts) must(b64(Buffer.from(part, 'base64url')) === part, 'opened another text of the same bytes');
  const header: Record<string, unknown> = JSON.parse(decode(parts[0] ?? ''));
  must(Object.keys(header).sort().join() === 'alg,enc,epk,kid,typ', 'opened a header with other members');
  const said: Record<string, unknown> = JSON.parse(unseal(jwe));
  const read: Record<string, unknown> = { ...rest, rules: ruleTexts, secret: secret.reveal() };
  must(Object.keys(said).sort().join() === Object.keys(read).sort().join(), 'opened with other members');
  for (const [name, value] of Object.entries(read))
    must(JSON.stringify(sorted(value)) === JSON.stringify(sorted(said[name])), `read another ${name} than JSON.parse`);
  must(!ruleTexts.some((rule) => /^(?:scope|op):/.test(rule)), 'opened a ceiling that another can widen');
  must(rest.nbf < rest.exp && rest.origins.length > 0, 'opened what is never good');
  must(!JSON.stringify({ secret }).includes(secret.reveal()) || secret.reveal().length < 9, 'the secret prints itself');
  return `opened ${rest.place.kind}, ${ruleTexts.length} rules`;
};

const sorted = (value: unknown): unknown =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
    ? Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
    : value;

// Why it could not be read would tell about the plaintext.
const checkRefusal = (_: string, error: DaypassError): void =>
  must(error.cause === undefined && !error.message.includes('canary'), 'a refusal that says why');

const seeds = [
  plaintext,
  { ...plaintext, place: { kind: 'header', name: 'x-key', template: 'Key {secret}' }, rules: ['GET /a', 'POST ~/b+'] },
  { ...plaintext, place: { kind: 'query', name: 'key' }, callers: ['*'], origins: ['https://a.example:8443'] },
  { ...plaintext, place: { kind: 'basic' }, secret: 'user:pass word' },
].map((one) => seal(JSON.stringify(one)));

/** Sealed credentials: changed parts, and plaintexts and headers sealed again. */
export const sealed: FuzzTarget = targetOf<OpenedSeal>({
  name: 'seal',
  input: 'text',
  dictionary: [
    '.',
    '..',
    '=',
    '-',
    '_',
    ' ',
    'A',
    'e30',
    '"',
    '{',
    '}',
    '[',
    ']',
    ',',
    ':',
    '\\u0000',
    '\\',
    '*',
    'GET /',
  ],
  maxLength: 4200,
  codes: ['seal_malformed', 'seal_key_unknown'],
  seeds,
  make,
  read: (jwe) => openSeal(jwe, keys),
  check,
  checkRefusal,
  note: () => `${reached} decryptions tried`,
});
