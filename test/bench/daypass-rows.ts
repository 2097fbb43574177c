// What Daypass is asked in each of its rows: rules, tokens and bodies.
import { createPrivateKey, type KeyObject, randomBytes, sign } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { controlPaths } from '@daypass/core/home';
import type { PrivateJwk } from '@daypass/core/key';
import { mint } from '../kit/operator.ts';
import type { Fleet } from '../kit/planes.ts';
import { PATH } from './subject.ts';

/** One row. */
export type Row = {
  readonly title: string;
  /** Settings of its own. */
  readonly env?: Readonly<Record<string, string>>;
  /** Makes what the row asks with; files go into the folder. */
  readonly prepare: (fleet: Fleet, folder: string) => Promise<Asked>;
};

/** What the load is made of. */
export type Asked = {
  readonly path: string;
  readonly body?: string;
  readonly tokens: readonly string[] | ((seconds: number) => readonly string[]);
  /** What share of the tokens may be found in the cache; default: any. */
  readonly hitsAtMost?: number;
};

const RULES = ['GET /repos/acme/{repo}/issues', 'GET /repos/acme/{repo}/issues/{n}'];
const TTL = ['--ttl', '2h'];
/** More than can be answered with a token that has to be verified. */
const NEW_TOKENS_PER_SECOND = 8000;

/** The rows by their names. */
export const daypassRows: Readonly<Record<string, Row>> = {
  daypass: { title: 'Daypass, token cached', prepare: oneToken },
  'daypass-new-token': { title: 'Daypass, token new each time', prepare: newTokens },
  'daypass-200-tokens': { title: 'Daypass, 200 tokens in rotation', prepare: manyTokens },
  'daypass-sealed': { title: 'Daypass, credential sealed in token', prepare: sealedInToken },
  'daypass-1000-rules': { title: 'Daypass, named scope of 1,000 rules', prepare: namedScope },
  'daypass-strict': { title: 'Daypass, audit strict', env: { DAYPASS_AUDIT: 'strict' }, prepare: oneToken },
  'daypass-where-body': { title: 'Daypass, `where` on a body', prepare: whereOnBody },
};

async function oneToken(fleet: Fleet): Promise<Asked> {
  return { path: PATH, tokens: [await mint(fleet, 'bench', RULES, TTL)] };
}

async function newTokens(fleet: Fleet): Promise<Asked> {
  const model = await mint(fleet, 'bench', RULES, TTL);
  const jwk = JSON.parse(await readFile(controlPaths(fleet.home).tokenKey, 'utf8')) as PrivateJwk;
  const key = createPrivateKey({ key: jwk, format: 'jwk' });
  const tokens = (seconds: number) =>
    Array.from({ length: seconds * NEW_TOKENS_PER_SECOND }, () => another(model, key));
  return { path: PATH, tokens, hitsAtMost: 0.01 };
}

/** The same token with another id: as the control plane would sign it, without a row for each. */
function another(model: string, key: KeyObject): string {
  const [header = '', payload = ''] = model.split('.');
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Record<string, unknown>;
  const jti = String(claims.jti);
  const own = { ...claims, jti: randomBytes(64).toString('hex').slice(0, jti.length) };
  const signed = `${header}.${Buffer.from(JSON.stringify(own)).toString('base64url')}`;
  return `${signed}.${sign(null, Buffer.from(signed), key).toString('base64url')}`;
}

async function manyTokens(fleet: Fleet): Promise<Asked> {
  const tokens: string[] = [];
  while (tokens.length < 200) {
    const { status, body } = await fleet.rpc('TokenService/Mint', { service: 'bench', allow: RULES, ttl: '7200s' });
    if (status !== 200) throw new Error(`Mint answered ${status}: ${JSON.stringify(body)}`);
    tokens.push(String(body.token));
  }
  return { path: PATH, tokens };
}

async function sealedInToken(fleet: Fleet): Promise<Asked> {
  const allow = RULES.flatMap((rule) => ['--allow', rule]);
  const args = ['mint', '--service', 'bench', ...allow, ...TTL, '--seal-stdin'];
  return { path: PATH, tokens: [await fleet.must(args, { stdin: 'real-credential' })] };
}

async function namedScope(fleet: Fleet, folder: string): Promise<Asked> {
  const rules = Array.from({ length: 1000 }, (_, i) => `GET /repos/o${i % 100}/{repo}/k${Math.floor(i / 100)}/*`);
  const file = join(folder, 'scope.rules');
  await writeFile(file, rules.join('\n'));
  await fleet.must(['service', 'scope', 'set', 'bench', 'all', '--rules-file', file]);
  return { path: '/repos/o99/site/k9/7', tokens: [await mint(fleet, 'bench', ['scope:all'], TTL)] };
}

async function whereOnBody(fleet: Fleet, folder: string): Promise<Asked> {
  const body = join(folder, 'body.json');
  await writeFile(
    body,
    JSON.stringify({ state: 'open', title: 'It does not start', labels: ['bug'], text: 'x'.repeat(400) }),
  );
  const rule = 'POST /repos/acme/{repo}/issues where body.state = "open"';
  return { path: '/repos/acme/site/issues', body, tokens: [await mint(fleet, 'bench', [rule], TTL)] };
}
