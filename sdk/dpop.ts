// The SDK's side of DPoP (RFC 9449): one key for all tokens, proofs by it, and the nonces that data planes gave out.
import { encodeBase64url } from '@daypass/core/base64url';
import { type ProofJwk, proofThumbprint, signProof } from '@daypass/core/dpop';
import { DaypassError } from '@daypass/core/errors';
import type { JwsAlg } from '@daypass/core/jws';
import type { CryptoKey } from '@daypass/core/key';

/** A key pair of WebCrypto: ECDSA on P-256, or Ed25519. The private half need not be extractable. */
export type DpopKeyPair = { readonly privateKey: CryptoKey; readonly publicKey: CryptoKey };

/** A key, and what is known of the data planes that it is used with. */
export type Dpop = {
  /** Thumbprint of the key (RFC 7638). */
  jkt(): Promise<string>;
  /** A proof for one request; its URL's query and fragment are left out. */
  proof(method: string, url: string, token: string): Promise<string>;
  /** Takes the nonce out of an answer to a proof, if it comes from where it was sent. */
  learn(url: string, response: Response): void;
  /** Whether the next proof could be refused for its nonce: nothing was heard from there for a while. */
  isUnsure(url: string): boolean;
  /** Takes the time (seconds) at which a server just signed a token: this machine's clock may be wrong. */
  syncClock(iat: number): void;
};

type Signer = { readonly alg: JwsAlg; readonly key: CryptoKey; readonly publicJwk: ProofJwk; readonly jkt: string };
type Heard = { readonly nonce: string | undefined; readonly at: number };

/** Origins that are remembered; the one heard from the longest ago goes first. */
const MAX_ORIGINS = 64;
/** A nonce is good for at least 150 s after the data plane took it. */
const SURE_MS = 120_000;

/** Makes a key if none is given. `now` in milliseconds. Throws `invalid_argument` for a key that proofs cannot be signed with. */
export function createDpop(given: true | DpopKeyPair, now: () => number): Dpop {
  let made: Promise<Signer> | undefined;
  const signer = (): Promise<Signer> => (made ??= given === true ? generate() : signerOf(given));
  if (given !== true) algOf(given.privateKey);
  const heard = new Map<string, Heard>();
  let aheadMs = 0;
  return {
    jkt: async () => (await signer()).jkt,
    async proof(method, url, token) {
      const { origin } = new URL(url);
      const request = { method, url, tokenHash: await hashOf(token), now: (now() - aheadMs) / 1000 };
      return await signProof({ ...request, jti: newId(), nonce: heard.get(origin)?.nonce }, await signer());
    },
    learn(url, response) {
      const { origin } = new URL(url);
      if (response.url !== '' && new URL(response.url).origin !== origin) return;
      const nonce = response.headers.get('dpop-nonce') ?? heard.get(origin)?.nonce;
      heard.delete(origin);
      heard.set(origin, { nonce, at: now() });
      const [oldest] = heard.keys();
      if (heard.size > MAX_ORIGINS && oldest !== undefined) heard.delete(oldest);
    },
    isUnsure: (url) => now() - (heard.get(new URL(url).origin)?.at ?? Number.NEGATIVE_INFINITY) > SURE_MS,
    syncClock: (iat) => {
      aheadMs = now() - iat * 1000;
    },
  };
}

// Every platform has this one, and none lets the private half out.
async function generate(): Promise<Signer> {
  return await signerOf(
    await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign', 'verify']),
  );
}

async function signerOf({ privateKey, publicKey }: DpopKeyPair): Promise<Signer> {
  const alg = algOf(privateKey);
  const { x = '', y = '' } = await crypto.subtle.exportKey('jwk', publicKey);
  const publicJwk: ProofJwk = alg === 'ES256' ? { kty: 'EC', crv: 'P-256', x, y } : { kty: 'OKP', crv: 'Ed25519', x };
  return { alg, key: privateKey, publicJwk, jkt: await proofThumbprint(publicJwk) };
}

function algOf({ algorithm, type }: CryptoKey): JwsAlg {
  const curve: unknown = Reflect.get(algorithm, 'namedCurve');
  if (type === 'private' && algorithm.name === 'ECDSA' && curve === 'P-256') return 'ES256';
  if (type === 'private' && algorithm.name === 'Ed25519') return 'Ed25519';
  throw new DaypassError('invalid_argument', 'dpop must be a key pair of ECDSA on P-256 or of Ed25519', {
    field: 'dpop',
  });
}

const hashOf = async (token: string): Promise<string> =>
  encodeBase64url(new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(token))));

const newId = (): string => encodeBase64url(crypto.getRandomValues(new Uint8Array(16)));
