// What a large snapshot holds: services with credentials of a sealed one's size, and the status lists of many tokens.
import { randomBytes } from 'node:crypto';
import { deflateSync } from 'node:zlib';
import { encodeBase64url } from '@daypass/core/base64url';
import { generateSealingKey } from '@daypass/core/key';
import { sealCredential } from '@daypass/core/seal';
import { STATUS_CHUNK_BITS } from '@daypass/core/service';
import { compareEntries, type Entry, encodeEntry } from '@daypass/core/snapshot';
import { setBit } from '@daypass/core/status';
import { entriesOf, FLEET, POOL } from '../attacks/snapshot-world.ts';
import { serviceConfig } from '../data-plane/service-config.ts';

/** How much of what. */
export type Holding = {
  readonly services: number;
  /** Tokens that are out, and how many of them are revoked. */
  readonly tokens: number;
  readonly revoked: number;
};

/** The entries: `api`, which can be asked and takes no credential, and as many others as it says. */
export async function entriesFor(origin: string, holding: Holding): Promise<readonly Entry[]> {
  const others = await sealedServices(origin, holding.services - 1);
  return [...entriesOf(origin), ...others, ...statusChunks(holding)].sort(compareEntries);
}

/** Nobody opens these. */
async function sealedServices(origin: string, count: number): Promise<readonly Entry[]> {
  const { length } = await sealedText(origin);
  return Array.from({ length: count }, (_, i) => {
    const name = `s-${String(i).padStart(6, '0')}`;
    const sealed = randomBytes(length).toString('base64url').slice(0, length);
    return [
      encodeEntry('service', name, serviceConfig({ name, origin })),
      encodeEntry('credential', name, { id: randomBytes(16).toString('hex'), sealed }),
    ];
  }).flat();
}

async function sealedText(origin: string): Promise<string> {
  const { kid, publicJwk: jwk } = await generateSealingKey();
  const [id, secret] = [randomBytes(16).toString('hex'), randomBytes(20).toString('hex')];
  const place = { kind: 'bearer' } as const;
  const use = { fleet: FLEET, pool: POOL, service: 's-000000', origins: [origin], place };
  const bounds = { rules: ['* /**'], callers: ['*'], nbf: 0, exp: 4_000_000_000 };
  return sealCredential({ v: 1, id, ...use, ...bounds, secret }, { kid, jwk });
}

/** Revoked tokens spread evenly over the chunks of all. */
function statusChunks({ tokens, revoked }: Holding): readonly Entry[] {
  const chunks = Array.from(
    { length: revoked === 0 ? 0 : Math.ceil(tokens / STATUS_CHUNK_BITS) },
    () => new Uint8Array(STATUS_CHUNK_BITS / 8),
  );
  for (let i = 0; i < revoked; i += 1) {
    const place = Math.floor((i * tokens) / revoked) + 7;
    const chunk = chunks[Math.floor(place / STATUS_CHUNK_BITS)];
    if (chunk !== undefined) setBit(chunk, place % STATUS_CHUNK_BITS);
  }
  return chunks.map((bits, number) =>
    encodeEntry('status', String(number), { bits: 1, lst: encodeBase64url(deflateSync(bits, { level: 9 })) }),
  );
}
