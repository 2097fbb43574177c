// Seals a credential for a service: to a key that chains to the fleet root this command trusts, and to nothing else.
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DaypassError } from '@daypass/core/errors';
import { rootPaths } from '@daypass/core/home';
import { parseStrictJson } from '@daypass/core/json';
import { fingerprint, type PublicJwk, readPublicJwk, type VerifiedKey, verifySignedKey } from '@daypass/core/key';
import { secretProblem } from '@daypass/core/place';
import { sealCredential } from '@daypass/core/seal';
import type { Secret } from '@daypass/core/secret';
import type { CredentialPlace } from '@daypass/core/service';
import type { GetSealingKeysResponse } from '@daypass/sdk/gen/daypass/v1/key_pb';
import type { Connection } from './connection.ts';
import { UsageError } from './failure.ts';

/** What a credential is to be good for. */
export type SealRequest = {
  readonly service: string;
  readonly pool: string;
  /** The service's upstream URL; the seal is for its origin. */
  readonly upstream: string;
  readonly place: CredentialPlace;
  readonly rules: readonly string[];
  readonly callers: readonly string[];
  readonly secret: Secret;
  /** From now on, in seconds. */
  readonly lifetimeSeconds: number;
  readonly maxBytes: number;
};

/** A sealed credential and its id. */
export type Sealed = { readonly sealed: string; readonly id: string };

/** Clocks of other machines may be behind by this much. */
const BACKDATE_SECONDS = 60;

/** Seals to the pool's first good key. @throws DaypassError `key_untrusted`; UsageError for a secret that cannot be placed */
export const seal = async (connection: Connection, request: SealRequest): Promise<Sealed> => {
  const { service, pool, place, rules, callers, secret } = request;
  const problem = secretProblem(secret.reveal(), place);
  if (problem !== undefined) throw new UsageError(`the secret ${problem}`, 'secret');
  const now = Math.floor(connection.io.now() / 1000);
  const key = await sealingKey(connection, pool, now);
  const id = randomBytes(16).toString('hex');
  const sealed = await sealCredential(
    {
      ...{ v: 1, id, fleet: key.fleet, pool, service },
      ...{ origins: [new URL(request.upstream).origin], place, rules, callers },
      ...{ nbf: now - BACKDATE_SECONDS, exp: now + request.lifetimeSeconds, secret: secret.reveal() },
    },
    key,
    request.maxBytes,
  );
  return { sealed, id };
};

/** The pool's first sealing key that the trusted root vouches for now. */
const sealingKey = async (connection: Connection, pool: string, now: number): Promise<VerifiedKey> => {
  const served = await connection.keys.getSealingKeys({ pool });
  const root = await trustedRoot(connection, served);
  let refusal: unknown = new DaypassError(
    'key_untrusted',
    `the control plane has no sealing key for the pool "${pool}"`,
  );
  for (const signed of served.keys) {
    try {
      return await verifySignedKey(signed, { root, fleet: served.fleet, use: 'seal', pool, now });
    } catch (error) {
      refusal = error;
    }
  }
  throw refusal;
};

/** The root given by flag, else of the home, else the one pinned before, else the one shown now, which is then pinned. */
const trustedRoot = async (connection: Connection, served: GetSealingKeysResponse): Promise<PublicJwk> => {
  const shown = readPublicJwk(parseStrictJson(served.root), 'Ed25519', 'root');
  const pinFile = `${connection.home}/pinned-root.jwk`;
  const given = connection.rootFile;
  const sources = given === undefined ? [rootPaths(connection.home).publicKey, pinFile] : [given];
  for (const file of sources) {
    const root = await readRoot(file, file === given);
    if (root === undefined) continue;
    if ((await fingerprint(root)) === (await fingerprint(shown))) return root;
    const message = `the control plane shows another fleet root than ${file}: nothing is sealed to its keys`;
    throw new DaypassError('key_untrusted', message, { field: file });
  }
  await pin(pinFile, shown);
  connection.io.err(
    `Trusting the fleet root of ${connection.url} from now on; compare its fingerprint with the one that \`daypass init\` showed:\n` +
      `  SHA-256 ${await fingerprint(shown)} (kept in ${pinFile})\n`,
  );
  return shown;
};

const readRoot = async (file: string, needed: boolean): Promise<PublicJwk | undefined> => {
  try {
    return readPublicJwk(parseStrictJson(await readFile(file, 'utf8')), 'Ed25519', 'root');
  } catch (cause) {
    if (cause instanceof DaypassError) throw new UsageError(`${file} is not the public key of a fleet root`, file);
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown reason';
    if (code === 'ENOENT' && !needed) return undefined;
    throw new UsageError(`${file} cannot be read: ${code}`, file);
  }
};

const pin = async (file: string, root: PublicJwk): Promise<void> => {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  await writeFile(file, `${JSON.stringify(root)}\n`, { flag: 'wx', mode: 0o600 });
};
