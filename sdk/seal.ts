// Seals a credential on the client's own machine, to a key that chains to the fleet root the client trusts.
import { DaypassError } from '@daypass/core/errors';
import { toHex } from '@daypass/core/hash';
import { parseStrictJson } from '@daypass/core/json';
import { fingerprint, type PublicJwk, readPublicJwk, type VerifiedKey, verifySignedKey } from '@daypass/core/key';
import { parseRules } from '@daypass/core/rule-parse';
import { printRule } from '@daypass/core/rule-print';
import { underBasePath } from '@daypass/core/rule-rebase';
import { MAX_SEAL_IN_SNAPSHOT, MAX_SEAL_IN_TOKEN, sealCredential } from '@daypass/core/seal';
import type { CredentialPlace } from '@daypass/core/service';
import type { Clients } from './client.ts';
import type { GetSealingKeysResponse } from './gen/daypass/v1/key_pb.ts';

/** What to seal, what it is good for, and whom to trust. */
export type SealRequest = {
  readonly clients: Pick<Clients, 'keys'>;
  /** The fleet root's public key, got from the operator. */
  readonly root?: PublicJwk | undefined;
  /**
   * Asked when no root is given: whether to trust the root of this fingerprint (RFC 7638, SHA-256, base64url). Show it
   * to a person or compare it with one kept before.
   */
  readonly trustOnFirstUse?: ((fingerprint: string) => boolean | Promise<boolean>) | undefined;
  readonly service: string;
  /** The credential itself; `user:password` for basic. */
  readonly secret: string;
  /** The service's upstream URL as you know it, such as `https://api.github.com`: the only origin it may be sent to. */
  readonly upstream: string;
  /** Where the data plane puts it. */
  readonly place: CredentialPlace;
  /** A ceiling in the scope language, in the service's own paths; `[ALL_REQUESTS]` for every path of its upstream. */
  readonly rules: readonly string[];
  /** Control-plane callers that may mint with it; `[ANY_CALLER]` for every one that may mint for the service. */
  readonly callers: readonly string[];
  /** The pool of data planes that may open it; absent: `default`. */
  readonly pool?: string | undefined;
  /** How long it is good, in seconds. */
  readonly lifetimeSeconds: number;
  /** What it will travel in: a service (4 KiB) or a token (2 KiB). Absent: a service. */
  readonly carrier?: 'service' | 'token' | undefined;
};

/** A sealed credential. */
export type Sealed = {
  /** A compact JWE: `sealed_credential` of a service or of Mint. */
  readonly sealed: string;
  /** `credential_id` of a service: 128 random bits in hex. */
  readonly id: string;
  /** The key it is sealed to. */
  readonly kid: string;
  readonly expiresAt: Date;
};

/** Clocks of other machines may be behind by this much. */
const BACKDATE_SECONDS = 60;

/** Seals a credential. Throws `key_untrusted` when no key chains to a trusted root, `invalid_argument` or `invalid_rule` naming what is wrong. */
export async function sealFor(request: SealRequest): Promise<Sealed> {
  const { service, secret, place, callers, pool = 'default', carrier = 'service' } = request;
  if (!(request.lifetimeSeconds > 0))
    throw new DaypassError('invalid_argument', 'lifetimeSeconds must be above 0', { field: 'lifetimeSeconds' });
  const now = Math.floor(Date.now() / 1000);
  const key = await trustedKey(request, pool, now);
  const id = toHex(crypto.getRandomValues(new Uint8Array(16)));
  const times = { nbf: now - BACKDATE_SECONDS, exp: now + request.lifetimeSeconds };
  const { origin, basePath } = readUpstream(request.upstream);
  const rules = parseRules(request.rules).map((rule) => printRule(underBasePath(rule, basePath)));
  const sealed = await sealCredential(
    { v: 1, id, fleet: key.fleet, pool, service, origins: [origin], place, rules, callers, ...times, secret },
    key,
    carrier === 'token' ? MAX_SEAL_IN_TOKEN : MAX_SEAL_IN_SNAPSHOT,
  );
  return { sealed, id, kid: key.kid, expiresAt: new Date(times.exp * 1000) };
}

/** What a seal holds of an upstream: rules are moved below the base path, so that nobody can widen them by another one. */
function readUpstream(upstream: string): { readonly origin: string; readonly basePath: string } {
  const url = URL.canParse(upstream) ? new URL(upstream) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '')
    throw new DaypassError('invalid_argument', 'upstream must be an http or https URL', { field: 'upstream' });
  return { origin: url.origin, basePath: url.pathname.replace(/\/$/, '') };
}

/** The pool's first sealing key that the trusted root vouches for now. The fleet is the one that the root signed. */
async function trustedKey(request: SealRequest, pool: string, now: number): Promise<VerifiedKey> {
  const served = await request.clients.keys.getSealingKeys({ pool });
  const root = request.root ?? (await acceptedRoot(request, served));
  let refusal = new DaypassError('key_untrusted', `The control plane has no sealing key for the pool "${pool}"`);
  for (const signed of served.keys) {
    try {
      return await verifySignedKey(signed, { root, fleet: served.fleet, use: 'seal', pool, now });
    } catch (error) {
      if (!(error instanceof DaypassError)) throw error;
      refusal = error;
    }
  }
  throw refusal;
}

async function acceptedRoot({ trustOnFirstUse }: SealRequest, served: GetSealingKeysResponse): Promise<PublicJwk> {
  if (trustOnFirstUse === undefined)
    throw new DaypassError('key_untrusted', 'Give the fleet root to seal: root, or trustOnFirstUse');
  const root = readPublicJwk(parseStrictJson(served.root), 'Ed25519', 'root');
  if ((await trustOnFirstUse(await fingerprint(root))) !== true)
    throw new DaypassError('key_untrusted', 'The fleet root was not trusted');
  return root;
}
