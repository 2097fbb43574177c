// Registers the demo upstream as the service `demo`, with its credential sealed, and mints a token for it.
import { readFile, writeFile } from 'node:fs/promises';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { parseStrictJson, readObject, readString } from '@daypass/core/json';
import { ALL_REQUESTS, ANY_CALLER } from '@daypass/core/seal-plaintext';
import type { Service } from '@daypass/sdk/gen/daypass/v1/service_pb';
import type { Sealed } from '@daypass/sdk/seal';
import type { Connection } from '../connection.ts';
import { failureOf } from '../failure.ts';
import { placeMessage } from '../place.ts';
import { seal } from '../sealing.ts';
import { demoCredential, demoPaths } from './credential.ts';

/** The demo's service. */
export const DEMO_SERVICE = 'demo';

/** What the demo token allows. */
export const DEMO_RULES = ['GET /repos/acme/site/issues', 'POST /repos/acme/site/issues/{number}/labels'] as const;

const DESCRIPTION = 'The demo upstream of daypass up';
const TOKEN_TTL_MS = 60 * 60_000;
const SEAL_SECONDS = 3650 * 24 * 60 * 60;
const place = { kind: 'bearer' } as const;

/**
 * Makes sure that the service is registered for this upstream and sealed with this credential. Nothing is done where
 * it already is. False: there is a service of this name that is not the demo's, and it is left alone.
 */
export const registerDemo = async (connection: Connection, upstream: string): Promise<boolean> => {
  const service = await existing(connection);
  if (service !== undefined && service.description !== DESCRIPTION) return false;
  if (service !== undefined && service.upstream === upstream && (await isSealed(connection.home, service))) return true;
  const { sealed, id } = await sealDemo(connection, upstream);
  const fields = { name: DEMO_SERVICE, upstream, sealedCredential: sealed, credentialId: id };
  if (service === undefined)
    await connection.services.create({ service: { ...fields, place: placeMessage(place), description: DESCRIPTION } });
  else
    await connection.services.update({
      service: { ...fields, etag: service.etag },
      updateMask: { paths: ['upstream', 'sealed_credential', 'credential_id'] },
    });
  await writeFile(demoPaths(connection.home).sealed, `${JSON.stringify({ credential_id: id })}\n`, { mode: 0o600 });
  return true;
};

/** A token that a person can try things with. */
export const mintDemoToken = async (connection: Connection): Promise<string> => {
  const request = {
    service: DEMO_SERVICE,
    allow: [...DEMO_RULES],
    client: 'demo-bot',
    ttl: durationFromMs(TOKEN_TTL_MS),
  };
  return (await connection.tokens.mint(request)).token;
};

const existing = async (connection: Connection): Promise<Service | undefined> => {
  try {
    return (await connection.services.get({ name: DEMO_SERVICE })).service;
  } catch (error) {
    const { code } = failureOf(error);
    if (code === 'not_found' || code === 'service_unknown') return undefined;
    throw error;
  }
};

const sealDemo = async (connection: Connection, upstream: string): Promise<Sealed> =>
  seal(connection, {
    ...{ service: DEMO_SERVICE, pool: 'default', upstream, place },
    ...{ rules: [ALL_REQUESTS], callers: [ANY_CALLER], secret: await demoCredential(connection.home) },
    lifetimeSeconds: SEAL_SECONDS,
  });

/** Whether the service still has the seal that was made here: a new demo folder means a new credential. */
const isSealed = async (home: string, service: Service): Promise<boolean> => {
  try {
    const text = await readFile(demoPaths(home).sealed, 'utf8');
    const id = readString(readObject(parseStrictJson(text), 'sealed').credential_id, 'credential_id');
    return id === service.credentialId;
  } catch {
    return false;
  }
};
