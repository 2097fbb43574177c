// Clients that nobody here wrote, through a running fleet: only their address and their key are changed.
import { Octokit } from '@octokit/rest';
import OpenAI from 'openai';
import Stripe from 'stripe';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventOf, events, mint, register } from '../kit/operator.ts';
import { type Fleet, startFleet } from '../kit/planes.ts';
import { run } from '../kit/process.ts';
import { github, openai, startUpstream, stripe, type Upstream } from '../kit/upstream.ts';

let fleet: Fleet;
let githubUpstream: Upstream;
let openaiUpstream: Upstream;
let stripeUpstream: Upstream;
let release = Promise.withResolvers<void>();

beforeAll(async () => {
  [githubUpstream, openaiUpstream, stripeUpstream] = await Promise.all([
    startUpstream(github),
    startUpstream(openai(() => release.promise)),
    startUpstream(stripe),
  ]);
  fleet = await startFleet();
  await register(fleet, 'github', githubUpstream.origin, 'ghs-real-credential', [
    '--credential',
    'header:authorization',
    '--template',
    'token {secret}',
  ]);
  await register(fleet, 'openai', openaiUpstream.origin, 'sk-real-openai');
  await register(fleet, 'stripe', stripeUpstream.origin, 'sk-real-stripe', ['--credential', 'bearer', '--default']);
});

afterAll(async () => {
  release.resolve();
  await fleet?.stop();
  await Promise.all([githubUpstream?.close(), openaiUpstream?.close(), stripeUpstream?.close()]);
});

describe('@octokit/rest with its own baseUrl and auth', () => {
  let octokit: Octokit;
  beforeAll(async () => {
    const auth = await mint(fleet, 'github', [
      'GET /repos/acme/{repo}/issues',
      'POST /repos/acme/{repo}/issues/{n}/labels',
    ]);
    octokit = new Octokit({ baseUrl: `${fleet.dataUrl}/s/github`, auth });
  });

  test('lists issues over three pages by paginate, which follows Link through the proxy', async () => {
    githubUpstream.forget();
    const issues = await octokit.paginate('GET /repos/{owner}/{repo}/issues', {
      owner: 'acme',
      repo: 'site',
      per_page: 2,
    });
    expect(issues.map((issue) => issue.number)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(githubUpstream.seen.map((seen) => seen.target)).toEqual([
      '/repos/acme/site/issues?per_page=2',
      '/repos/acme/site/issues?per_page=2&page=2',
      '/repos/acme/site/issues?per_page=2&page=3',
    ]);
    expect(new Set(githubUpstream.seen.map((seen) => seen.headers.authorization))).toEqual(
      new Set(['token ghs-real-credential']),
    );
  });

  test('adds a label', async () => {
    const answer = await octokit.rest.issues.addLabels({
      owner: 'acme',
      repo: 'site',
      issue_number: 7,
      labels: ['bug'],
    });
    expect(answer.status).toBe(200);
    expect(answer.data.map((label) => label.name)).toEqual(['bug']);
  });

  test('is refused a delete, told the rule that it would need, and nothing goes upstream', async () => {
    githubUpstream.forget();
    const refusal = await octokit.rest.repos.delete({ owner: 'acme', repo: 'site' }).then(
      () => undefined,
      (error: unknown) => error as { status: number; message: string; response: { data: string } },
    );
    expect(refusal?.status).toBe(403);
    // Octokit parses application/json alone, and shows any other text as the error's message.
    expect(refusal?.message).toContain('No rule of the token allows this request');
    const problem = JSON.parse(refusal?.response.data ?? '') as Record<string, string>;
    expect(problem).toMatchObject({ code: 'scope_refused', needed_rule: 'DELETE /repos/acme/site' });
    expect(githubUpstream.seen).toEqual([]);
    const event = await eventOf(fleet, problem.decision_id ?? '');
    expect(event).toMatchObject({ outcome: 'OUTCOME_REFUSED', reason: 'scope_refused', method: 'DELETE', status: 403 });
  });
});

describe('the openai SDK', () => {
  let client: OpenAI;
  beforeAll(async () => {
    const apiKey = await mint(fleet, 'openai', ['POST /v1/chat/completions']);
    client = new OpenAI({ baseURL: `${fleet.dataUrl}/s/openai/v1`, apiKey, maxRetries: 0 });
  });
  const messages = [{ role: 'user' as const, content: 'Hi' }];

  test('gets a completion', async () => {
    const answer = await client.chat.completions.create({ model: 'gpt-4.1', messages });
    expect(answer.choices[0]?.message.content).toBe('Hello there');
    expect(openaiUpstream.seen.at(-1)?.headers.authorization).toBe('Bearer sk-real-openai');
  });

  test('reads the first piece of a stream before the upstream has sent the last', async () => {
    release = Promise.withResolvers<void>();
    const stream = await client.chat.completions.create({ model: 'gpt-4.1', messages, stream: true });
    const pieces: string[] = [];
    for await (const chunk of stream) {
      pieces.push(chunk.choices[0]?.delta.content ?? '');
      // The upstream sends nothing more until the first piece is here.
      release.resolve();
    }
    expect(pieces).toEqual(['Hello', ' there', '']);
  });

  test('is refused another route with an error of its own kind', async () => {
    const refusal = await client.models.list().then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(refusal).toBeInstanceOf(OpenAI.PermissionDeniedError);
  });
});

test('the stripe SDK reaches the default service by host and port alone', async () => {
  const key = await mint(fleet, 'stripe', ['GET,POST /v1/customers/**', 'POST /v1/customers']);
  const { hostname: host, port } = new URL(fleet.dataUrl);
  const client = new Stripe(key, { host, port, protocol: 'http', maxNetworkRetries: 0, telemetry: false });
  const made = await client.customers.create({ email: 'ada@example.com' });
  const found = await client.customers.retrieve('cus_1');
  expect([made.id, found.id]).toEqual(['cus_1', 'cus_1']);
  expect(stripeUpstream.seen[0]?.body).toBe('email=ada%40example.com');
  expect(stripeUpstream.seen.map((seen) => seen.headers.authorization)).toEqual([
    'Bearer sk-real-stripe',
    'Bearer sk-real-stripe',
  ]);
  const refusal = await client.balance.retrieve().then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(refusal).toBeInstanceOf(Stripe.errors.StripePermissionError);
});

describe('curl', () => {
  test('gets what its token allows, and the event is in the audit within a second', async () => {
    const token = await mint(fleet, 'github', ['GET /repos/acme/*/issues'], ['--client', 'curl']);
    const url = `${fleet.dataUrl}/s/github/repos/acme/site/issues?per_page=2`;
    const answer = await run('curl', ['-sS', '-i', '-H', `Authorization: Bearer ${token}`, url]);
    const answered = performance.now();
    expect(answer.stdout).toMatch(/^HTTP\/1\.1 200/);
    expect(answer.stdout).toContain(`<${fleet.dataUrl}/s/github/repos/acme/site/issues?per_page=2&page=2>; rel="next"`);
    let found = await events(fleet, { client: 'curl' });
    while (found.length === 0 && performance.now() - answered < 1000) found = await events(fleet, { client: 'curl' });
    expect(found).toMatchObject([
      {
        outcome: 'OUTCOME_ALLOWED',
        method: 'GET',
        path: '/repos/acme/site/issues',
        rule: 'GET /repos/acme/*/issues',
        status: 200,
        service: 'github',
        caller: 'admin',
      },
    ]);
  });

  test('is challenged without a token', async () => {
    const answer = await run('curl', ['-sS', '-i', `${fleet.dataUrl}/s/github/repos/acme/site/issues`]);
    expect(answer.stdout).toMatch(/^HTTP\/1\.1 401/);
    expect(answer.stdout).toMatch(/^www-authenticate: Bearer/im);
    expect(answer.stdout).toMatch(/^content-type: application\/problem\+json/im);
  });
});
