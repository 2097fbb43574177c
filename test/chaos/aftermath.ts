// When everything is up again: nothing that was acknowledged is lost, and nothing that was ended works.
import { until } from '../kit/deadline.ts';
import type { Changes } from './changes.ts';
import type { ControlClient, Json } from './control-client.ts';
import { judge, type KnownVersions, type TokenFacts } from './ledger.ts';
import type { Node, Tokens } from './traffic.ts';
import { versionOf } from './versions.ts';

type Deps = {
  readonly control: ControlClient;
  readonly nodes: readonly Node[];
  readonly changes: Changes;
  readonly tokens: Tokens;
  readonly known: KnownVersions;
  readonly broken: (why: string, facts: unknown) => void;
};

/** What was found, for the report. */
export type Aftermath = {
  readonly version: number;
  readonly services: number;
  readonly tokens: number;
  readonly decisions: number;
};

const SETTLED_MS = 60_000;

/** Looks at everything. `decisions` are those whose answers arrived, by node. */
export async function lookAfter(deps: Deps, decisions: ReadonlyMap<string, readonly string[]>): Promise<Aftermath> {
  const version = await settle(deps);
  const services = await checkServices(deps);
  const tokens = await checkTokens(deps);
  return { version, services, tokens, decisions: await checkAudit(deps, decisions) };
}

/** Every node has the newest version, which is none before those that were acknowledged. */
async function settle({ nodes, known }: Deps): Promise<number> {
  const least = Math.max(...nodes.map(({ name }) => known.of(name)));
  return until(
    'all nodes have the newest version',
    async () => {
      const versions = await Promise.all(nodes.map(versionOf));
      const [first = 0] = versions;
      return versions.every((one) => one === first) && first >= least && first;
    },
    SETTLED_MS,
  );
}

/** The registry holds what was acknowledged, or what was asked for after it. */
async function checkServices({ control, changes, broken }: Deps): Promise<number> {
  const registered = new Map((await all(control, 'ServiceRegistry/List', 'services')).map((one) => [one.name, one]));
  for (const service of changes.services) {
    const found = registered.get(service.name);
    if (service.isDeleteAsked) {
      if (found !== undefined) broken('a service that was deleted is there', service);
      continue;
    }
    const generation = Number(/\/g(\d+)$/.exec(String(found?.upstream))?.[1] ?? Number.NaN);
    const least = service.acknowledged.at(-1)?.generation ?? 0;
    if (!(generation >= least && generation <= service.asked))
      broken(`a service has lost its configuration: ${found?.upstream}`, service);
  }
  return registered.size;
}

/** Each token is what it was said to be, at the control plane and on every node. */
async function checkTokens({ control, nodes, changes, tokens, known, broken }: Deps): Promise<number> {
  const all = [...new Set([...tokens.live, ...tokens.ended, ...changes.revoked])];
  const isGood = ({ revoked, service }: TokenFacts): boolean => revoked === undefined && !service.isDeleteAsked;
  for (const token of all) {
    const { active } = await control.call('TokenService/Introspect', { token: token.text });
    if ((active === true) !== isGood(token)) broken(`introspection says ${active}`, token);
  }
  for (const node of nodes) {
    for (const token of all) {
      const { answer, isForwarded } = await askOnce(node, token, known.of(node.name));
      const verdict = judge(answer);
      if (verdict.kind !== 'right') broken(`in the end, at ${node.name}: ${verdict.why}`, answer);
      else if (isForwarded !== isGood(token)) broken(`in the end, ${node.name} answers wrongly`, answer);
    }
  }
  return all.length;
}

async function askOnce(node: Node, token: TokenFacts, knownVersion: number) {
  const sentAt = Date.now();
  const answer = await fetch(`${node.origin}/s/${token.service.name}/items/1`, {
    headers: { authorization: `Bearer ${token.text}` },
    signal: AbortSignal.timeout(20_000),
  });
  const said = await answer.text();
  const code = answer.headers.get('daypass-refusal') ?? undefined;
  const version = /snapshot;desc="(\d+)"/.exec(answer.headers.get('server-timing') ?? '')?.[1];
  const generation = /"target":"\/g(\d+)\//.exec(said)?.[1];
  return {
    isForwarded: code === undefined,
    answer: {
      ...{ node: node.name, token, sentAt, knownVersion, status: answer.status, code },
      version: version === undefined ? undefined : Number(version),
      generation: generation === undefined ? undefined : Number(generation),
    },
  };
}

/** Every decision whose answer arrived is in the audit, once. */
async function checkAudit(
  { control, broken }: Deps,
  decisions: ReadonlyMap<string, readonly string[]>,
): Promise<number> {
  const wanted = new Map([...decisions].flatMap(([node, ids]) => ids.map((id) => [id, node] as const)));
  let missing: readonly (readonly [string, string])[] = [];
  const found = await until(
    'the audit is complete',
    async () => {
      const seen = new Map<string, number>();
      for (const { decisionId } of await all(control, 'AuditService/Query', 'events'))
        seen.set(String(decisionId), (seen.get(String(decisionId)) ?? 0) + 1);
      missing = [...wanted].filter(([id]) => !seen.has(id));
      return missing.length === 0 && seen;
    },
    SETTLED_MS,
  ).catch(() => broken(`${missing.length} decisions are missing from the audit`, missing.slice(0, 10)));
  if (found === undefined) return 0;
  const twice = [...found].filter(([, count]) => count > 1);
  if (twice.length > 0) broken('the audit holds decisions twice', twice.slice(0, 10));
  return wanted.size;
}

/** Every page of a list. */
async function all(control: ControlClient, method: string, member: string): Promise<readonly Json[]> {
  const found: Json[] = [];
  for (let pageToken = ''; ; ) {
    const answer = await control.call(method, { pageSize: 1000, pageToken });
    found.push(...((answer[member] ?? []) as readonly Json[]));
    pageToken = typeof answer.nextPageToken === 'string' ? answer.nextPageToken : '';
    if (pageToken === '') return found;
  }
}
