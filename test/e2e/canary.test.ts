// A real credential is seen on the upstream connection and nowhere else, whatever is asked and whatever goes wrong.
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { filesBelow, holding, processListing } from '../kit/canary.ts';
import { until } from '../kit/deadline.ts';
import { eventOf, events, mint, register } from '../kit/operator.ts';
import { type Fleet, startFleet } from '../kit/planes.ts';
import { exchange } from '../kit/raw.ts';
import { startUpstream, type Upstream } from '../kit/upstream.ts';

const secrets = {
  bearer: 'canary-bearer-7d3e1f0a94c65b28',
  basic: 'robot:canary-basic-1f8e6d2c7b3a9405',
  header: 'canary-header-c40b9e7f2a6d8135',
  query: 'canary-query-92b7f4d1e8c3a605',
  carried: 'canary-carried-e6a1d9c4f7b20835',
} as const;

let fleet: Fleet;
let upstream: Upstream;
const answers: Record<string, string> = {};

beforeAll(async () => {
  // An upstream that repeats in its head whatever it was given, fails, redirects, and breaks off.
  upstream = await startUpstream((seen, response, origin) => {
    const echo = [seen.headers.authorization, seen.headers['x-api-key'], seen.target].filter(Boolean).join(' ');
    const next = new URL(seen.target, origin);
    if (seen.target.includes('/redirect')) return void response.writeHead(302, { location: next.href }).end();
    if (seen.target.includes('/broken')) return void response.destroy();
    const link = `<${next.href}&page=2>; rel="next"`;
    response.writeHead(seen.target.includes('/error') ? 500 : 200, { 'x-echo': echo, link }).end('fine');
  });
  fleet = await startFleet({ env: { DAYPASS_SERVER_TIMING: '1' } });
  await register(fleet, 'bearer', upstream.origin, secrets.bearer);
  await register(fleet, 'basic', upstream.origin, secrets.basic, ['--credential', 'basic']);
  await register(fleet, 'header', upstream.origin, secrets.header, ['--credential', 'header:X-Api-Key']);
  await register(fleet, 'query', upstream.origin, secrets.query, ['--credential', 'query:api_key']);
  await fleet.must(['service', 'create', 'carried', '--upstream', upstream.origin, '--credential', 'bearer']);
});

afterAll(async () => {
  await fleet?.stop();
  await upstream?.close();
});

test('every kind of credential reaches the upstream, in a seal of the registry or of the token', async () => {
  for (const service of Object.keys(secrets)) {
    const more = service === 'carried' ? ['--seal-stdin'] : [];
    const stdin = service === 'carried' ? { stdin: secrets.carried } : {};
    const token = await fleet.must(['mint', '--service', service, '--allow', 'GET /**', ...more], stdin);
    answers[`token ${service}`] = token;
    for (const path of ['fine?a=1', 'error?a=1', 'redirect?a=1', 'broken?a=1', 'none', 'post']) {
      const answer = await fetch(`${fleet.dataUrl}/s/${service}/${path}`, {
        method: path === 'post' ? 'POST' : 'GET',
        headers: { authorization: `Bearer ${token}` },
        redirect: 'manual',
      });
      const head = [...answer.headers].map(([name, value]) => `${name}: ${value}`).join('\n');
      answers[`answer ${service} ${path}`] = `${answer.status} ${answer.statusText}\n${head}\n\n${await answer.text()}`;
    }
  }
  const sent = upstream.seen.map((seen) =>
    [seen.headers.authorization, seen.headers['x-api-key'], seen.target].join(' '),
  );
  const basic = Buffer.from(secrets.basic).toString('base64');
  for (const secret of [secrets.bearer, basic, secrets.header, secrets.query, secrets.carried]) {
    expect(sent.filter((text) => text.includes(secret)).length).toBeGreaterThanOrEqual(3);
  }
});

test('a caller that speaks badly is told nothing', async () => {
  const heads = [
    'GET /s/bearer/fine HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
    'nonsense\r\n\r\n',
  ];
  for (const head of heads) answers[`raw ${head}`] = await exchange(fleet.dataUrl, head);
  expect(Object.keys(answers).filter((name) => name.startsWith('raw '))).toHaveLength(2);
});

test('no answer, log, database, snapshot, audit, spool or process listing holds one', async () => {
  await until('the audit has the last request', async () => (await events(fleet, { service: 'carried' })).length >= 5);
  const listings = { ...(await processListing(fleet.control.pid())), ...(await processListing(fleet.data.pid())) };
  const rpcs: Record<string, string> = {};
  for (const method of [
    'ServiceRegistry/List',
    'TokenService/List',
    'AuditService/Query',
    'KeyService/GetSealingKeys',
  ]) {
    rpcs[method] = JSON.stringify((await fleet.rpc(method)).body);
  }
  rpcs.audit = JSON.stringify(await events(fleet));
  rpcs.changes = JSON.stringify(await events(fleet, { kind: 'AUDIT_KIND_CHANGE' }));
  rpcs.metrics = await (await fetch(`${fleet.adminUrl}/metrics`)).text();
  const files = await filesBelow(fleet.home);
  const logs = { control: fleet.control.logs(), data: fleet.data.logs() };
  const places = { ...answers, ...rpcs, ...files, ...logs, ...listings };

  // What is looked through is really there.
  expect(Object.keys(files).some((path) => path.includes('/control/daypass.db'))).toBe(true);
  expect(Object.keys(files).some((path) => path.includes('/data/snapshot/'))).toBe(true);
  expect(Object.keys(files).some((path) => path.includes('/data/spool/'))).toBe(true);
  expect(logs.control.length).toBeGreaterThan(0);
  expect(logs.data.length).toBeGreaterThan(0);

  for (const [kind, secret] of Object.entries(secrets)) {
    const bare = secret.replace(/^robot:/, '');
    expect({ kind, holding: holding(bare, places) }).toEqual({ kind, holding: [] });
  }
});

test('no log, audit, spool or listing holds a live token either', async () => {
  const token = answers['token bearer'] ?? '';
  const signature = token.split('.')[2] ?? 'none';
  const files = Object.entries(await filesBelow(fleet.home));
  const kept = Object.fromEntries(files.map(([path, bytes]) => [path, bytes]));
  const places = {
    control: fleet.control.logs(),
    data: fleet.data.logs(),
    audit: JSON.stringify(await events(fleet)),
    ...kept,
  };
  expect(holding(signature, places)).toEqual([]);
});

test('the refusal of an upstream that breaks off is a 502 with a decision id that leads to its event', async () => {
  const token = await mint(fleet, 'bearer', ['GET /broken']);
  const answer = await fetch(`${fleet.dataUrl}/s/bearer/broken`, { headers: { authorization: `Bearer ${token}` } });
  const problem = (await answer.json()) as { code: string; decision_id: string };
  expect(answer.status).toBe(502);
  expect(await eventOf(fleet, problem.decision_id)).toMatchObject({
    outcome: 'OUTCOME_FAILED',
    status: 502,
    reason: problem.code,
  });
});

test('the key of the command is in a file that only its owner reads', async () => {
  const { mode } = await stat(join(fleet.home, 'control', 'admin.key'));
  expect(mode & 0o777).toBe(0o600);
  const database = await readFile(join(fleet.home, 'control', 'daypass.db'));
  expect(holding(fleet.adminKey, { database })).toEqual([]);
});
