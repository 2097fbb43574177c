// Plays one case of test/attacks/attack-cases.json (levels http and upstream) against a data server of its own.
import { readFileSync } from 'node:fs';
import { startFixture } from './fixture.ts';
import {
  type Answer,
  parseAnswers,
  type Recorded,
  type Recorder,
  type Script,
  startRecorder,
  talk,
} from './recorder.ts';

/** A case, as far as the levels http and upstream go. */
export type AttackCase = {
  readonly id: string;
  readonly level: string;
  readonly title: string;
  readonly raw?: string;
  readonly steps?: readonly { readonly send?: string; readonly wait_ms?: number }[];
  readonly upstream_sends?: string;
  readonly expect: Expectation;
};

type Expectation = {
  readonly status?: readonly string[];
  readonly status_sequence?: readonly string[];
  readonly responses?: number;
  readonly responses_max?: number;
  readonly reach_upstream?: boolean;
  readonly upstream?: UpstreamExpectation;
  readonly response_not_contains?: readonly string[];
  readonly response_header_absent?: readonly string[];
  readonly next_request_clean?: boolean;
  readonly client_sees?: string;
  readonly followed?: boolean;
  readonly alive?: boolean;
};

type UpstreamExpectation = {
  readonly count?: number;
  readonly max_count?: number;
  readonly max_complete_requests?: number;
  readonly method?: string;
  readonly target?: string;
  readonly body?: string;
  readonly header_equals?: Readonly<Record<string, string>>;
  readonly header_equals_if_reached?: Readonly<Record<string, string>>;
  readonly header_not_equals?: Readonly<Record<string, string>>;
  readonly header_absent?: readonly string[];
};

const file = new URL('../attacks/attack-cases.json', import.meta.url);

/** The cases that go over the wire. */
export const wireCases: readonly AttackCase[] = (
  JSON.parse(readFileSync(file, 'utf8')) as { readonly cases: readonly AttackCase[] }
).cases.filter(({ level }) => level === 'http' || level === 'upstream');

const SECRET = 'REAL-UPSTREAM-SECRET';

/** Plays the case on the route `prefix`; returns what was not as expected. */
export async function playCase(attack: AttackCase, prefix: string): Promise<readonly string[]> {
  using upstream = await startRecorder();
  await using data = await startFixture({
    services: [
      {
        name: 'api',
        origin: upstream.origin,
        secret: SECRET,
        is_default: true,
        response_timeout_ms: attack.upstream_sends === '{{SILENT}}' ? 200 : 5_000,
      },
    ],
  });
  const values = placeholders(await data.mint(), prefix, `127.0.0.1:${data.port}`);
  const fill = (text: string) => text.replace(/\{\{(\w+)\}\}/g, (whole, key: string) => values[key] ?? whole);
  if (attack.upstream_sends !== undefined) upstream.script(scriptOf(attack, fill));

  const steps = (attack.steps ?? [{ send: attack.raw ?? '' }]).map(({ send, wait_ms }) => ({
    ...(send === undefined ? {} : { send: fill(send) }),
    ...(wait_ms === undefined ? {} : { wait_ms: Math.min(wait_ms, 100) }),
  }));
  const mayWait = attack.expect.status?.includes('wait') === true;
  const { octets, isClosed } = await talk(data.port, steps, 120, undefined, mayWait ? 300 : 5_000);
  const played = { answers: parseAnswers(octets), octets, isClosed, upstream };
  const problems = [...compareAnswers(attack.expect, played, fill), ...compareUpstream(attack.expect, upstream, fill)];
  if (attack.expect.next_request_clean === true || attack.expect.alive === true) {
    const next = `GET ${prefix}/public/next HTTP/1.1\r\nHost: h\r\n${values.AUTH}\r\nConnection: close\r\n\r\n`;
    const after = await talk(data.port, [{ send: next }], 2_000);
    if (/POISON|EVIL|HELLO/.test(after.octets) || !/x-up: \S*\/public\/next/i.test(after.octets))
      problems.push('the next answer is not clean');
  }
  return problems;
}

function placeholders(token: string, prefix: string, host: string): Readonly<Record<string, string>> {
  return {
    P: prefix,
    UP: '',
    HOST: host,
    TOKEN: token,
    AUTH: `Authorization: Bearer ${token}`,
    SECRET_A: `Bearer ${SECRET}`,
    SECRET_A_RAW: SECRET,
  };
}

function scriptOf({ upstream_sends = '', expect }: AttackCase, fill: (text: string) => string): Script {
  if (upstream_sends === '{{SILENT}}') return () => undefined;
  if (upstream_sends === '{{AFTER_60MS}}')
    return (socket) => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      setTimeout(() => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON'), 60);
    };
  const filled = fill(upstream_sends);
  const body = filled.slice(filled.indexOf('\r\n\r\n') + 4);
  const octets = filled.replace('{{LEN}}', String(body.length));
  // An answer is only cut when nothing more can come.
  return expect.client_sees === 'aborted' ? (socket) => socket.end(Buffer.from(octets, 'latin1')) : octets;
}

type Played = {
  readonly answers: readonly Answer[];
  readonly octets: string;
  readonly isClosed: boolean;
  readonly upstream: Recorder;
};

function compareAnswers(wanted: Expectation, { answers, octets, isClosed }: Played, fill: (text: string) => string) {
  const problems: string[] = [];
  const statuses = answers.map(({ status }) => status);
  const final = statuses.filter((status) => status >= 200);
  const fits = (pattern: string, status: number | undefined): boolean => {
    if (pattern === 'close') return status === undefined && isClosed;
    if (pattern === 'wait') return status === undefined && !isClosed;
    if (status === undefined) return pattern === '100' && statuses.includes(100);
    return pattern.endsWith('xx') ? Math.floor(status / 100) === Number(pattern[0]) : status === Number(pattern);
  };
  if (wanted.status !== undefined && !wanted.status.some((pattern) => fits(pattern, final[0])))
    problems.push(`status ${final[0] ?? (isClosed ? 'closed' : 'none')}`);
  if (wanted.status?.includes('100') === true && !statuses.includes(100)) problems.push('no 100');
  wanted.status_sequence?.forEach((pattern, at) => {
    if (!fits(pattern, final[at])) problems.push(`answer ${at} is ${final[at]}`);
  });
  if (wanted.responses !== undefined && final.length !== wanted.responses) problems.push(`${final.length} answers`);
  if (wanted.responses_max !== undefined && final.length > wanted.responses_max)
    problems.push(`${final.length} answers`);
  for (const text of wanted.response_not_contains ?? [])
    if (octets.includes(fill(text))) problems.push('the credential is in the answer');
  for (const name of wanted.response_header_absent ?? [])
    if (new RegExp(`\\r\\n${name}:`, 'i').test(answers[0]?.head ?? '')) problems.push(`${name} is in the answer`);
  if (wanted.client_sees === 'aborted' && (!isClosed || octets.endsWith('0\r\n\r\n')))
    problems.push('the client took a cut answer for a whole one');
  return problems;
}

function compareUpstream(expected: Expectation, upstream: Recorder, fill: (text: string) => string): readonly string[] {
  const problems: string[] = [];
  const requests = upstream.requests();
  const wanted = expected.upstream ?? {};
  const [first] = requests;
  const fields = requests.flatMap((request) => request.fields);
  if (expected.reach_upstream === false && upstream.octets() !== '')
    problems.push(`reached upstream: ${first?.target}`);
  if (expected.reach_upstream === true && first === undefined) problems.push('did not reach upstream');
  if (expected.followed === false && requests.length > 1) problems.push('a redirect was followed');
  problems.push(...compareCounts(wanted, requests));
  if (wanted.method !== undefined && first?.method !== wanted.method) problems.push(`method ${first?.method}`);
  if (wanted.target !== undefined && first?.target !== fill(wanted.target)) problems.push(`target ${first?.target}`);
  if (wanted.body !== undefined && first?.body !== wanted.body) problems.push(`body ${first?.body}`);
  const has = (name: string, value: string) => fields.some((field) => field[0] === name && field[1] === value);
  for (const [name, value] of Object.entries(wanted.header_equals ?? {}))
    if (!has(name, fill(value))) problems.push(`${name} is not put on`);
  for (const [name, value] of Object.entries(wanted.header_equals_if_reached ?? {}))
    if (first !== undefined && !has(name, fill(value))) problems.push(`${name} is lost`);
  for (const [name, value] of Object.entries(wanted.header_not_equals ?? {}))
    if (has(name, value)) problems.push(`the client's ${name} was forwarded`);
  for (const name of wanted.header_absent ?? [])
    if (fields.some((field) => field[0] === name)) problems.push(`${name} was forwarded`);
  return problems;
}

function compareCounts(wanted: UpstreamExpectation, requests: readonly Recorded[]): readonly string[] {
  const complete = requests.filter(({ isComplete }) => isComplete).length;
  const problems: string[] = [];
  if (wanted.count !== undefined && requests.length !== wanted.count) problems.push(`${requests.length} requests`);
  if (wanted.max_count !== undefined && requests.length > wanted.max_count)
    problems.push(`${requests.length} requests`);
  if (wanted.max_complete_requests !== undefined && complete > wanted.max_complete_requests)
    problems.push(`${complete} whole requests`);
  return problems;
}
