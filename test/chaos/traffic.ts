// Traffic without end on every node: each answer is held against the ledger, and a node that is down is left for another.
import { setTimeout as pause } from 'node:timers/promises';
import { Pool } from 'undici';
import { type Answer, judge, type KnownVersions, type TokenFacts, type Verdict } from './ledger.ts';
import type { Member } from './member.ts';
import type { Random } from './random.ts';

/** A data plane as its clients see it. */
export type Node = {
  readonly name: string;
  readonly origin: string;
  readonly adminOrigin: string;
  /** With one, whoever has seen a version of it will see no older one; several take it up one after the other. */
  readonly workers: number;
  readonly member: Member;
};

/** The tokens to ask with. */
export type Tokens = {
  readonly live: TokenFacts[];
  /** Revoked, or of deleted services. */
  readonly ended: TokenFacts[];
};

export type TrafficCounts = {
  /** Requests of clients, each of which was served by some node. */
  requests: number;
  forwarded: number;
  refused: number;
  /** Requests that were under way when their token was revoked or their service deleted. */
  cut: number;
  /** Tries that a node's own death cost, by how it failed. */
  readonly deaths: Map<string, number>;
  /** Milliseconds, of requests that the first node served. */
  readonly latencies: number[];
  /** Milliseconds, of those that another had to serve. */
  readonly failovers: number[];
  /** Ids of the decisions whose answers arrived whole, by node. */
  readonly decisions: Map<string, string[]>;
};

type Deps = {
  readonly nodes: readonly Node[];
  readonly tokens: Tokens;
  readonly known: KnownVersions;
  readonly random: Random;
  readonly lanes: number;
  /** Of each lane, between two requests. */
  readonly pauseMs: number;
  readonly broken: (why: string, facts: unknown) => void;
};

export type Traffic = { readonly counts: TrafficCounts; stop(): Promise<void> };

const ANSWER_MS = 20_000;
const SERVED_MS = 20_000;
const DOWN_PAUSE_MS = 40;
const ENDED_SHARE = 0.25;

/** Starts it: so many lanes for each node, each asking one request soon after the other. */
export function startTraffic(deps: Deps): Traffic {
  const { nodes, tokens, known, broken } = deps;
  const counts: TrafficCounts = {
    ...{ requests: 0, forwarded: 0, refused: 0, cut: 0 },
    ...{ deaths: new Map(), latencies: [], failovers: [] },
    decisions: new Map(nodes.map(({ name }) => [name, []])),
  };
  const pools = new Map(nodes.map((node) => [node, new Pool(node.origin, { connections: deps.lanes * 2 })]));
  let going = true;

  /** One try: what the node's answer means. */
  const ask = async (node: Node, token: TokenFacts): Promise<Verdict> => {
    const [sentAt, knownVersion] = [Date.now(), known.of(node.name)];
    let answer: Answer;
    try {
      const asked = await askNode(pools.get(node), token);
      answer = { node: node.name, token, sentAt, knownVersion, ...asked };
      if (asked.decision !== undefined) counts.decisions.get(node.name)?.push(asked.decision);
    } catch (error) {
      return { kind: 'unable', why: reasonOf(error) };
    }
    const verdict = judge(answer);
    if (verdict.kind === 'wrong') broken(verdict.why, answer);
    if (verdict.kind !== 'right') return verdict;
    if (answer.code === undefined) counts.forwarded += 1;
    else counts.refused += 1;
    if (node.workers === 1 && answer.version !== undefined) known.raise(node.name, answer.version);
    return verdict;
  };

  /** One request of a client: this node, or else the others until one serves it. */
  const request = async (first: Node, token: TokenFacts, random: Random): Promise<void> => {
    const began = performance.now();
    let tries = 0;
    for (let node = first; going; node = random.pick(nodes)) {
      const since = performance.now();
      const verdict = await ask(node, token);
      tries += 1;
      if (verdict.kind !== 'unable') break;
      if (!node.member.wasDown(since) && isCut(token, verdict.why)) {
        counts.cut += 1;
        return;
      }
      if (!node.member.wasDown(since)) return broken(`${node.name} was up and could not serve: ${verdict.why}`, token);
      counts.deaths.set(verdict.why, (counts.deaths.get(verdict.why) ?? 0) + 1);
      if (performance.now() - began > SERVED_MS) return broken('no node could serve a request', token);
      await pause(tries === 1 ? 0 : DOWN_PAUSE_MS);
    }
    counts.requests += 1;
    (tries === 1 ? counts.latencies : counts.failovers).push(performance.now() - began);
  };

  const lane = async (node: Node, random: Random): Promise<void> => {
    while (going) {
      const among = tokens.ended.length > 0 && random.chance(ENDED_SHARE) ? tokens.ended : tokens.live;
      await request(node, random.pick(among), random);
      // What is down is tried now and then, not as fast as connections are refused.
      await pause(node.member.isUp() ? deps.pauseMs : DOWN_PAUSE_MS);
    }
  };

  const lanes = nodes.flatMap((node) => Array.from({ length: deps.lanes }, () => lane(node, deps.random.fork())));
  return {
    counts,
    stop: async () => {
      going = false;
      await Promise.all(lanes);
      await Promise.all([...pools.values()].map((pool) => pool.destroy()));
    },
  };
}

/** What runs ends with what it was granted by: its connection is closed, and never a code is answered. */
const isCut = ({ isRevokeAsked, service }: TokenFacts, why: string): boolean =>
  (isRevokeAsked || service.isDeleteAsked) && /^(?:UND_ERR_SOCKET|ECONNRESET)$/.test(why);

/** One request for an item of the token's service. Throws when no whole answer came. */
async function askNode(pool: Pool | undefined, { service, text }: TokenFacts) {
  if (pool === undefined) throw new Error('there is no such node');
  const { statusCode, headers, body } = await pool.request({
    method: 'GET',
    path: `/s/${service.name}/items/1`,
    headers: { authorization: `Bearer ${text}` },
    headersTimeout: ANSWER_MS,
    bodyTimeout: ANSWER_MS,
  });
  const said = await body.text();
  const code = single(headers['daypass-refusal']);
  const timing = single(headers['server-timing']) ?? '';
  return {
    ...{ status: statusCode, code },
    version: numberIn(timing, /snapshot;desc="(\d+)"/),
    generation: numberIn(said, /"target":"\/g(\d+)\//),
    decision: /daypass;desc="([^"]+)"/.exec(timing)?.[1],
  };
}

const single = (value: string | string[] | undefined): string | undefined => (Array.isArray(value) ? value[0] : value);

function numberIn(text: string, pattern: RegExp): number | undefined {
  const found = pattern.exec(text)?.[1];
  return found === undefined ? undefined : Number(found);
}

const reasonOf = (error: unknown): string =>
  error instanceof Error ? ('code' in error ? String(error.code) : error.message) : String(error);
