// Seals a credential for a service: to a key that chains to the fleet root this command trusts, and to nothing else.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DaypassError } from '@daypass/core/errors';
import { rootPaths } from '@daypass/core/home';
import { parseStrictJson } from '@daypass/core/json';
import { fingerprint, type PublicJwk, readPublicJwk } from '@daypass/core/key';
import { secretProblem } from '@daypass/core/place';
import type { Secret } from '@daypass/core/secret';
import type { GetSealingKeysResponse } from '@daypass/sdk/gen/daypass/v1/key_pb';
import { type SealRequest as SdkRequest, type Sealed, sealFor } from '@daypass/sdk/seal';
import type { Connection } from './connection.ts';
import { UsageError } from './failure.ts';

/** What a credential is to be good for. */
export type SealRequest = Pick<
  SdkRequest,
  'service' | 'pool' | 'upstream' | 'place' | 'rules' | 'callers' | 'lifetimeSeconds' | 'carrier'
> & { readonly secret: Secret };

/** Seals to the pool's first good key. @throws DaypassError `key_untrusted`; UsageError for a secret that cannot be placed */
export const seal = async (connection: Connection, request: SealRequest): Promise<Sealed> => {
  const { secret, ...rest } = request;
  const problem = secretProblem(secret.reveal(), request.place);
  if (problem !== undefined) throw new UsageError(`the secret ${problem}`, 'secret');
  const root = await trustedRoot(connection, await connection.keys.getSealingKeys({ pool: request.pool ?? '' }));
  return await sealFor({ ...rest, clients: connection, root, secret: secret.reveal() });
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
  connection.io.note(
    `trusting the fleet root of ${connection.url} from now on; compare its fingerprint with the one that \`daypass init\` showed:\n` +
      `  SHA-256 ${await fingerprint(shown)} (kept in ${pinFile})`,
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
