// Signs tokens with node's own Ed25519, at once: a thread's turn and jose's promises cost more than the signature.
import { type KeyObject, sign } from 'node:crypto';
import { checkTokenSize, TOKEN_TYP, type TokenClaims, tokenPayload } from '@daypass/core/token';

/** Signs tokens in the name of an issuer. */
export type TokenSigner = {
  readonly kid: string;
  readonly issuer: string;
  /** The compact JWS. Throws `invalid_argument` for claims that no verifier would take, or that are too large. */
  sign(claims: TokenClaims): string;
};

/** Makes a signer with a private Ed25519 key. */
export const createTokenSigner = (issuer: string, kid: string, key: KeyObject): TokenSigner => {
  const head = encode(JSON.stringify({ alg: 'Ed25519', typ: TOKEN_TYP, kid }));
  return {
    kid,
    issuer,
    sign: (claims) => {
      const input = `${head}.${encode(tokenPayload(claims, kid))}`;
      const token = `${input}.${sign(null, Buffer.from(input, 'latin1'), key).toString('base64url')}`;
      checkTokenSize(claims, token);
      return token;
    },
  };
};

const encode = (content: Uint8Array | string): string => Buffer.from(content).toString('base64url');
