// The published packages, built and packed, work on an older Node without this repository around them.
import { execFile, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { glob, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { importEd25519, type KeyStatement, signKeyStatement } from '@daypass/core/key';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { build } from '../../sdk/build.ts';
import { FLEET, NOW, issuerKey as root, sealingKey } from '../core/fixture.ts';
import { createDataPlane, tokenOf } from './fixture.ts';

const run = promisify(execFile);
const REPOSITORY = join(import.meta.dirname, '../..');
const TIMEOUT_MS = 120_000;

/** The first Node on PATH of 20 to 25; where there is none, the one that runs the tests. */
function olderNode(): { readonly path: string; readonly version: string } {
  const folders = (process.env.PATH ?? '').split(delimiter).filter((folder) => !folder.includes('node_modules'));
  for (const path of folders.map((folder) => join(folder, 'node')).filter((file) => existsSync(file))) {
    const version = spawnSync(path, ['--version'], { encoding: 'utf8', timeout: 10_000 }).stdout?.trim() ?? '';
    const major = Number(/^v(\d+)\./.exec(version)?.[1]);
    if (major >= 20 && major < 26) return { path, version };
  }
  return { path: process.execPath, version: process.version };
}
const node = olderNode();

let home = '';

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'daypass-package-'));
  await mkdir(join(home, 'node_modules'));
  // What they depend on, beside them as npm would put it.
  const modules = join(REPOSITORY, 'node_modules');
  for (const name of ['@bufbuild', '@connectrpc', 'jose', 're2js', '@types', 'undici-types']) {
    await symlink(join(modules, name), join(home, 'node_modules', name));
  }
  const built = { core: join(home, 'built/core'), sdk: join(home, 'built/sdk') };
  await build(built);
  for (const [name, folder] of Object.entries(built)) await install(name, folder);
  await rm(join(home, 'built'), { recursive: true });
}, TIMEOUT_MS);
afterAll(() => rm(home, { recursive: true, force: true }));

/** Packs a folder as npm would publish it and unpacks it into node_modules. */
async function install(name: string, folder: string): Promise<void> {
  const packed = await run('npm', ['pack', '--silent', '--pack-destination', home], {
    cwd: folder,
    timeout: TIMEOUT_MS,
  });
  const to = join(home, 'node_modules/@daypass', name);
  await mkdir(to, { recursive: true });
  await run('tar', ['-xzf', join(home, packed.stdout.trim()), '-C', to, '--strip-components=1']);
}

const runModule = async (text: string): Promise<unknown> => {
  await writeFile(join(home, 'main.mjs'), text);
  const { stdout } = await run(node.path, ['main.mjs'], {
    cwd: home,
    timeout: TIMEOUT_MS,
    env: { PATH: '/usr/bin:/bin' },
  });
  return JSON.parse(stdout);
};

test(`the packed SDK mints and fetches on Node ${node.version}`, async () => {
  await using plane = await createDataPlane((seen, response) => {
    if (seen.url === '/daypass.v1.TokenService/Mint')
      return void tokenOf('t1').then((token) => mintAnswer(response, token));
    return void response.end(seen.headers.authorization);
  });
  const answer = await runModule(`
    import { createDaypass } from '@daypass/sdk';
    const url = ${JSON.stringify(plane.url)};
    const daypass = createDaypass({ controlPlane: url, dataPlane: url, apiKey: 'dpk_key' });
    const response = await daypass.fetch('github', '/repos/acme/site/issues');
    console.log(JSON.stringify({ status: response.status, text: await response.text() }));
  `);
  expect(answer).toEqual({ status: 200, text: `Bearer ${await tokenOf('t1')}` });
  expect(plane.seen.map(({ url }) => url)).toEqual([
    '/daypass.v1.TokenService/Mint',
    '/s/github/repos/acme/site/issues',
  ]);
});

test(`the packed SDK seals and verifies offline on Node ${node.version}`, async () => {
  const statement: KeyStatement = {
    v: 1,
    fleet: FLEET,
    pool: 'default',
    use: 'seal',
    kid: sealingKey.kid,
    jwk: sealingKey.publicJwk,
    not_after: NOW * 2,
  };
  const signed = await signKeyStatement(statement, await importEd25519(root.privateJwk, 'sign'));
  const served = {
    fleet: FLEET,
    root: '',
    keys: [{ statement: [...signed.statement], signature: [...signed.signature] }],
  };
  const answer = await runModule(`
    import { ALL_REQUESTS, ANY_CALLER, importVerificationKey, matchRules, compileRules, parseRules, sealFor, verifyToken } from '@daypass/sdk';
    import { importX25519 } from '@daypass/core/key';
    import { openSeal } from '@daypass/core/seal';
    const served = ${JSON.stringify(served)};
    const keys = served.keys.map(({ statement, signature }) => ({ statement: Uint8Array.from(statement), signature: Uint8Array.from(signature) }));
    const { sealed } = await sealFor({
      clients: { keys: { getSealingKeys: async () => ({ ...served, keys }) } },
      root: ${JSON.stringify(root.publicJwk)},
      service: 'github', secret: 'ghp_canary', upstream: 'https://api.github.com', place: { kind: 'bearer' },
      rules: [ALL_REQUESTS], callers: [ANY_CALLER], lifetimeSeconds: 60,
    });
    const opener = await importX25519(${JSON.stringify(sealingKey.privateJwk)}, 'open');
    const opened = await openSeal(sealed, new Map([[${JSON.stringify(sealingKey.kid)}, opener]]));
    const key = await importVerificationKey({ kid: 'k', alg: 'Ed25519', issuer: 'https://daypass.example', jwk: ${JSON.stringify(root.publicJwk)} });
    const claims = await verifyToken(${JSON.stringify(await tokenOf('t1'))}, { keys: new Map([[${JSON.stringify(root.kid)}, key]]), audience: ${JSON.stringify(FLEET)} });
    const rules = compileRules(parseRules(['GET ~/repos/.+?', 'GET /a/**']));
    console.log(JSON.stringify({ secret: opened.secret.reveal(), jti: claims.jti, matched: matchRules(rules, 'GET', '/repos/x') }));
  `);
  expect(answer).toEqual({ secret: 'ghp_canary', jti: 't1', matched: 'GET ~/repos/.+?' });
});

test('what is published says its licence, its dependencies and its types', async () => {
  for (const name of ['core', 'sdk']) {
    const folder = join(home, 'node_modules/@daypass', name);
    const about = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'));
    const source = JSON.parse(
      await readFile(join(REPOSITORY, name === 'core' ? 'sdk/core' : 'sdk', 'package.json'), 'utf8'),
    );
    expect(about).toMatchObject({
      name: `@daypass/${name}`,
      license: 'Apache-2.0',
      type: 'module',
      dependencies: source.dependencies,
    });
    expect(await readFile(join(folder, 'LICENSE'), 'utf8')).toContain('Apache License');
    expect(existsSync(join(folder, 'tsconfig.json'))).toBe(false);
  }
});

test('what a browser would load uses nothing of Node', async () => {
  const files: string[] = [];
  for await (const file of glob('{core,sdk}/**/*.js', { cwd: join(home, 'node_modules/@daypass') })) files.push(file);
  // The one file of the core for planes only.
  const loaded = files.filter((file) => file !== 'core/address.js');
  expect(loaded.length).toBeGreaterThan(30);
  for (const file of loaded) {
    const text = await readFile(join(home, 'node_modules/@daypass', file), 'utf8');
    expect([file, /from ['"]node:|\bBuffer\b|\bprocess\.|address\.js/.test(text)]).toEqual([file, false]);
  }
});

test('the declarations compile in a project of another', async () => {
  await writeFile(
    join(home, 'use.ts'),
    `import { createDaypass, DaypassError, RefusedError, type Daypass } from '@daypass/sdk';
     import { parseRule } from '@daypass/core/rule-parse';
     import type { Token } from '@daypass/sdk/gen/daypass/v1/token_pb';
     export const daypass: Daypass = createDaypass({ controlPlane: 'a', dataPlane: 'b', apiKey: 'c' });
     export const response: Promise<Response> = daypass.fetch('github', '/a', { allow: ['GET /a'] });
     export const tokens: Promise<readonly Token[]> = daypass.clients.tokens.list({}).then(({ tokens }) => tokens);
     export const kind: 'template' | 'regex' | 'scope' | 'graphql' | 'mcp' | 'op' = parseRule('GET /a').kind;
     export const code = (error: RefusedError): string => error instanceof DaypassError ? error.decisionId : error;
     // @ts-expect-error: a service is a text
     daypass.fetch(1, '/a');`,
  );
  const lib = ['es2024', 'dom', 'dom.iterable', 'esnext.disposable'];
  const compilerOptions = {
    strict: true,
    noEmit: true,
    module: 'nodenext',
    target: 'es2024',
    lib,
    types: [],
    skipLibCheck: false,
  };
  await writeFile(join(home, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['use.ts'] }));
  await writeFile(join(home, 'package.json'), '{"type":"module"}');
  const tsc = join(REPOSITORY, 'node_modules/typescript/bin/tsc');
  const compiled = await run(process.execPath, [tsc, '-p', home], { timeout: TIMEOUT_MS }).catch(
    (error: unknown) => error,
  );
  expect(compiled).toMatchObject({ stdout: '' });
});

const mintAnswer = (response: ServerResponse, token: string): void => {
  // MintResponse in binary form: field 1, a text.
  const bytes = new TextEncoder().encode(token);
  const length = [(bytes.length & 0x7f) | 0x80, bytes.length >> 7];
  response.writeHead(200, { 'content-type': 'application/proto' }).end(Uint8Array.from([0x0a, ...length, ...bytes]));
};
