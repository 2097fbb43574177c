// Every attack case of the level `token`, presented to a data plane over a socket.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { seal } from '../data-plane/fixture.ts';
import { type Answer, ask, parseAnswers, talk } from '../data-plane/recorder.ts';
import { type Case, casesOf } from './cases.ts';
import { BAD_SECRETS } from './seal-mutation.ts';
import { type Draft, mutate, textOf } from './token-mutation.ts';
import { SECRET, startWorld, type World } from './token-world.ts';

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(() => world?.[Symbol.asyncDispose]());

test.each(
  casesOf('token').map((attack) => [attack.id, attack.title, attack] as const),
)('%s %s', async (_id, _title, attack) => {
  const { data, canary } = world;
  const drafts = await mutate(attack, world);
  expect(drafts.length).toBeGreaterThan(0);
  const problems: string[] = [];
  // Many at once are a flood, which is not a question of each one's time.
  for (const draft of drafts.length > 100 ? [] : drafts) problems.push(...(await playDraft(attack, draft)));
  if (drafts.length > 100) problems.push(...(await flood(drafts)));
  expect(problems).toEqual([]);
  expect(canary.dialled()).toBe(0);
  expect((await ask(data.port, '/public/next', { token: await data.mint() })).status).toBe(200);
  const written = JSON.stringify([data.logs, data.audit.decisions, data.audit.outcomes]);
  expect(written).not.toContain(SECRET);
  const secrets = drafts.slice(0, 50).map((draft) => textOf(draft).split('.').at(-1) ?? '');
  for (const signature of secrets.filter((text) => text.length > 20)) expect(written).not.toContain(signature);
});

/** What is not as the case says, of one token. */
async function playDraft({ expect: wanted }: Case, draft: Draft): Promise<readonly string[]> {
  if (draft.isPrimed === true) await primeThenExpire(draft);
  const before = sentUp();
  const { answer, ms } = await quickest(draft, wanted.max_ms ?? Number.POSITIVE_INFINITY);
  const problems: string[] = [];
  const accepted = draft.isGoodBecause === undefined ? wanted.status : ['2xx'];
  if (accepted?.some((one) => one === String(answer.status) || one === `${String(answer.status)[0]}xx`) !== true)
    problems.push(`status ${answer.status}`);
  if (wanted.reach_upstream === false && draft.isGoodBecause === undefined && sentUp() !== before)
    problems.push('reached upstream');
  if (wanted.max_ms !== undefined && ms > wanted.max_ms) problems.push(`${ms} ms`);
  if (wanted.same_error_as !== undefined && toldBy(answer) !== (await reference(wanted.same_error_as)))
    problems.push(`another error: ${answer.body}`);
  if (answer.body.includes(SECRET) || answer.head.includes(SECRET)) problems.push('the credential came out');
  if (draft.isPrimed === true) world.data.clock.nowMs = Date.now();
  return problems.map((problem) => `${draft.label}: ${problem}`);
}

/** Octets that came to a backend so far. */
const sentUp = (): number => world.a.octets().length + world.b.octets().length;

function present({ service, inBasic, ...draft }: Draft): Promise<Answer> {
  const text = textOf({ ...draft });
  if (inBasic !== true) return ask(world.data.port, `/s/${service ?? 'api'}/public/a`, { token: text });
  const pair = Buffer.from(`x-token:${text}`).toString('base64');
  return ask(world.data.port, '/s/in-basic/public/a', { fields: [`Authorization: Basic ${pair}`] });
}

// The machine may be busy with something else: one quick answer of five shows that the work is small.
async function quickest(draft: Draft, maxMs: number): Promise<{ readonly answer: Answer; readonly ms: number }> {
  let best = Number.POSITIVE_INFINITY;
  for (let time = 1; ; time += 1) {
    const started = performance.now();
    const answer = await present(draft);
    best = Math.min(best, performance.now() - started);
    if (best <= maxMs || time === 5) return { answer, ms: Math.ceil(best) };
  }
}

async function primeThenExpire(draft: Draft): Promise<void> {
  expect((await present(draft)).status).toBe(200);
  world.data.clock.nowMs += 906_000;
}

/** All that an answer tells, but for the decision that it is of. */
const toldBy = ({ status, body }: Answer): string => `${status} ${body.replace(/"decision_id":"[^"]*"/, '')}`;

const references = new Map<string, string>();

async function reference(id: string): Promise<string> {
  const known = references.get(id);
  if (known !== undefined) return known;
  const attack = casesOf('token').find((one) => one.id === id);
  const [draft] = attack === undefined ? [] : await mutate(attack, world);
  if (draft === undefined) throw new Error(`there is no case ${id}`);
  const told = toldBy(await present(draft));
  references.set(id, told);
  return told;
}

/** Ten connections that present one after another, beside a client whose token is good. */
async function flood(drafts: readonly Draft[]): Promise<readonly string[]> {
  const requests = drafts.map(
    (draft) => `GET /public/a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${textOf(draft)}\r\n\r\n`,
  );
  const share = Math.ceil(requests.length / 10);
  const statuses: number[] = [];
  const attackers = Array.from({ length: 10 }, async (_, at) => {
    const own = requests.slice(at * share, (at + 1) * share);
    for (let sent = 0; sent < own.length; sent += 20) {
      const some = own.slice(sent, sent + 20);
      const isAll = (octets: string) => parseAnswers(octets).length === some.length;
      const { octets } = await talk(world.data.port, [{ send: some.join('') }], 5000, isAll);
      statuses.push(...parseAnswers(octets).map(({ status }) => status));
    }
  });
  let isOver = false;
  const over = Promise.all(attackers).then(() => {
    isOver = true;
  });
  const times: number[] = [];
  const token = await world.data.mint();
  while (!isOver) {
    const started = performance.now();
    expect((await ask(world.data.port, '/public/good', { token })).status).toBe(200);
    times.push(performance.now() - started);
  }
  await over;
  const median = times.sort((x, y) => x - y)[Math.floor(times.length / 2)] ?? 0;
  return [
    ...(statuses.length === drafts.length && statuses.every((status) => status === 502)
      ? []
      : [`statuses ${new Set(statuses)}`]),
    ...(median < 100 ? [] : [`a good request took ${Math.ceil(median)} ms`]),
  ];
}

test('JWE-21 a credential that would break out of its field cannot be sealed at all', async () => {
  const attack = casesOf('token').find(({ id }) => id === 'JWE-21');
  const value = String(attack?.mutation?.[0]?.value);
  for (const secret of BAD_SECRETS(value))
    await expect(seal({ name: 'api', origin: world.a.origin }, secret)).rejects.toMatchObject({
      code: 'invalid_argument',
    });
});
