// What all other proxies have in common: how they are started, and the token that those with a check are asked with.
import { type KeyObject, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { SignJWT } from 'jose';
import { root } from '../check/sources.ts';
import { launch, type Running } from '../kit/process.ts';
import { PATH, PREFIX, type Subject, tokenFile } from './subject.ts';

/** Where the peers send requests, where their files go, and who ends them. */
export type Setting = {
  /** `HOST:PORT`. */
  readonly upstream: string;
  readonly folder: string;
  readonly started: Running[];
};

/** Where a proxy listens. */
export type Listening = {
  readonly port: number;
  readonly pid: number;
  readonly settled?: () => Promise<void>;
};

/** What the token of a peer says of its issuer and its audience. */
export const CLAIMS = { issuer: 'https://issuer.example', audience: 'bench' };

/** The folder of the bench. */
export const here = join(root, 'test', 'bench');

/** A child of the bench that says on which port it listens. */
export async function child(
  { started }: Pick<Setting, 'started'>,
  file: string,
  ...args: string[]
): Promise<Listening> {
  const { running, port } = await ready([join(here, file), ...args]);
  started.push(running);
  return { port, pid: running.pid };
}

/** The process with the upstream; `control` is the port for `ask`. */
export async function farEnds(started: Running[]): Promise<Listening & { readonly control: number }> {
  // Room enough that it collects no garbage while it counts times.
  const flags = ['--expose-gc', '--max-semi-space-size=128', '--min-semi-space-size=128'];
  const { running, port, control } = await ready([...flags, join(here, 'upstream.ts')]);
  started.push(running);
  return { port, control, pid: running.pid };
}

async function ready(args: readonly string[]): Promise<{ running: Running; port: number; control: number }> {
  const running = launch(process.execPath, args);
  return { running, ...(JSON.parse(await running.line(/^\{"ready":true/)) as { port: number; control: number }) };
}

/** A row that asks with one token, which the proxies without a check do not look at. */
export async function peerSubject(
  variant: string,
  title: string,
  { port, pid, settled }: Listening,
  { folder }: Setting,
  token = 'unchecked',
): Promise<Subject> {
  const file = await tokenFile(folder, variant, [token]);
  const more = settled === undefined ? {} : { settled };
  return { variant, title, pid, url: `http://127.0.0.1:${port}${PREFIX}${PATH}`, tokens: async () => file, ...more };
}

/** A public key as PEM. */
export const pem = ({ publicKey }: { readonly publicKey: KeyObject }): string =>
  publicKey.export({ type: 'spki', format: 'pem' }).toString();

/** Signs a token with claims like those of Daypass' own. */
export const sign = (alg: string, key: KeyObject): Promise<string> =>
  new SignJWT({ client_id: 'triage-bot', allowed: ['GET /repos/acme/{repo}/issues/{n}'] })
    .setProtectedHeader({ alg, typ: 'at+jwt', kid: 'bench' })
    .setIssuer(CLAIMS.issuer)
    .setAudience(CLAIMS.audience)
    .setSubject('triage-bot')
    .setJti(randomUUID())
    .setIssuedAt()
    .setExpirationTime('2h')
    .sign(key);
