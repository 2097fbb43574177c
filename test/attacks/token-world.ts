// What the cases of the level `token` are played against: a data plane with real keys, two backends, and an attacker's keys.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { generateSigningKey } from '@daypass/core/key';
import type { SealPlaintext } from '@daypass/core/seal';
import { encodeEntry } from '@daypass/core/snapshot';
import { FLEET, ISSUER, POOL, sealingKey, startFixture } from '../data-plane/fixture.ts';
import { startRecorder } from '../data-plane/recorder.ts';
import { padded, type SealParts, sealByHand } from './forged-seal.ts';

/** The secret of backend A, which must never come out. */
export const SECRET = 'REAL-UPSTREAM-SECRET';

/** An ECDSA key that the snapshot lists as such, as §5 of the design lets it. */
const ecdsa = generateKeyPairSync('ec', { namedCurve: 'P-256' });
/** Its private half and its id. */
export const ecdsaKey = { kid: 'ecdsa-1', privateKey: ecdsa.privateKey };

/** A key of the same type as the issuer's that nobody listed. */
export const attackerKey = await generateSigningKey();

/** Whom seals are sealed to. */
export const recipient = { kid: sealingKey.kid, jwk: sealingKey.publicJwk };

export type World = Awaited<ReturnType<typeof startWorld>>;

/** Starts it. `a` and `b` are the backends, `canary` a listener that nobody may call. */
export async function startWorld() {
  const [a, b, canary] = [await startRecorder(), await startRecorder(), await startRecorder()];
  const { kty = '', crv = '', x = '', y = '' } = ecdsa.publicKey.export({ format: 'jwk' });
  const data = await startFixture({
    services: [
      { name: 'api', origin: a.origin, secret: SECRET, is_default: true },
      { name: 'other', origin: b.origin, secret: 'OTHER-UPSTREAM-SECRET' },
      { name: 'in-basic', origin: a.origin, secret: SECRET, token_in: [{ kind: 'basic' }] },
    ],
    entries: [
      encodeEntry('key', ecdsaKey.kid, { kid: ecdsaKey.kid, alg: 'ES256', issuer: ISSUER, jwk: { kty, crv, x, y } }),
    ],
    // More failures than an attacker gets, so that each case is refused for what it is.
    limits: { failureBurst: 100_000, failureBurstPerConnection: 100_000 },
  });
  const origins = { api: a.origin, other: b.origin };
  /** A sealed credential for a backend, made by hand; `change` is for its header, `secret` may be one that none may be. */
  const seal = (service: keyof typeof origins, secret: string, change: object = {}): SealParts => {
    const now = Math.trunc(data.clock.nowMs / 1000);
    const plaintext: SealPlaintext = {
      ...{ v: 1, id: randomBytes(16).toString('hex'), fleet: FLEET, pool: POOL, service },
      ...{ origins: [origins[service]], place: { kind: 'bearer' }, rules: ['* /**'], callers: ['*'] },
      ...{ nbf: now - 60, exp: now + 3600, secret },
    };
    return sealByHand(padded(plaintext), recipient, change);
  };
  return {
    a,
    b,
    canary,
    data,
    seal,
    async [Symbol.asyncDispose]() {
      await data[Symbol.asyncDispose]();
      for (const recorder of [a, b, canary]) recorder.close();
    },
  };
}
