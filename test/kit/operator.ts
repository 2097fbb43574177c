// What an operator does in nearly every test: register a service, mint a token, look an event up.
import { until } from './deadline.ts';
import type { Fleet } from './planes.ts';

/** Registers a service whose credential is put on as a bearer token, unless `more` says otherwise. */
export async function register(
  fleet: Fleet,
  name: string,
  upstream: string,
  secret: string,
  more: readonly string[] = ['--credential', 'bearer'],
): Promise<void> {
  await fleet.must(['service', 'create', name, '--upstream', upstream, '--secret-stdin', ...more], { stdin: secret });
}

/** Mints a token. */
export function mint(
  fleet: Fleet,
  service: string,
  allow: readonly string[],
  more: readonly string[] = [],
): Promise<string> {
  return fleet.must(['mint', '--service', service, ...allow.flatMap((rule) => ['--allow', rule]), ...more]);
}

/** The claim of a token by name, without verifying anything. */
export function claim(token: string, name: string): unknown {
  const payload = token.split('.')[1] ?? '';
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8')) as Record<string, unknown>;
  return claims[name];
}

/** An event of the audit in proto3 JSON. */
export type Event = Readonly<Record<string, unknown>> & {
  readonly decisionId: string;
  readonly outcome: string;
  readonly reason?: string;
  readonly method?: string;
  readonly path?: string;
  readonly status?: number;
};

/** Events that fit a filter, newest first, page after page. */
export async function events(fleet: Fleet, filter: Readonly<Record<string, unknown>> = {}): Promise<readonly Event[]> {
  const found: Event[] = [];
  for (let pageToken = ''; ; ) {
    const { status, body } = await fleet.rpc('AuditService/Query', { filter, pageSize: 1000, pageToken });
    if (status !== 200) throw new Error(`Query answered ${status}: ${JSON.stringify(body)}`);
    found.push(...((body.events ?? []) as Event[]));
    pageToken = typeof body.nextPageToken === 'string' ? body.nextPageToken : '';
    if (pageToken === '') return found;
  }
}

/** The event of a decision once it has an outcome. */
export function eventOf(fleet: Fleet, decisionId: string, withinMs = 5000): Promise<Event> {
  return until(
    `event ${decisionId}`,
    async () => (await events(fleet, { decisionId })).find((event) => event.outcome !== 'OUTCOME_PENDING'),
    withinMs,
  );
}
