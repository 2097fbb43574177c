// Tests of changes that take long: they leave the loop to others, end with who asked, and are few at a time.
import { expect, test } from 'vitest';
import type { CallerActor } from '../../control-plane/domain/actor.ts';
import type { Plan } from '../../control-plane/domain/change.ts';
import { createReleaseTest, type TestEvent } from '../../control-plane/domain/release-test.ts';
import type { Aggregates, AuditEventRow, TokenRow } from '../../control-plane/store/interface.ts';
import { event as auditEvent, service, token } from '../contract/rows.ts';
import { errorOf } from './fixture.ts';

const caller: CallerActor = { kind: 'caller', name: 'admin', admin: true } as CallerActor;
const plan = {} as Plan<unknown>;
const EVENTS = 200;

/** Each request is asked of ten thousand rules, twice: some 20 ms of work. */
const begin = () => {
  const rules = Array.from({ length: 10_000 }, (_, i) => `GET /{a}/{b}/{c}/d where path.a in ["q${i}"]`);
  const scopes = { many: rules };
  const before = service('github', { scopes });
  const after = { ...before, config: { ...before.config, max_ttl_seconds: before.config.max_ttl_seconds - 1 } };
  const row: TokenRow = token('jti', { service: 'github', allow: ['scope:many'], createdAt: before.createdAt + 1 });
  const one = auditEvent('event', { service: 'github', jti: 'jti', method: 'GET', path: '/z/foo/x/d', rule: '' });
  const events: readonly AuditEventRow[] = Array.from({ length: EVENTS }, () => one);
  const read = {
    audit: { query: async () => events },
    tokens: { getMany: async (jtis: readonly string[]) => (jtis.length === 0 ? [] : [row]) },
  } as unknown as Pick<Aggregates, 'audit' | 'tokens'>;
  const attempt = async <T>() => ({
    value: undefined as T,
    note: { path: 'services/github' },
    services: [{ name: 'github', before, after, operations: undefined }],
  });
  return createReleaseTest({ attempt, read, now: () => 2_000_000_000_000 });
};

const WINDOW = { windowMs: 1000, requestsMax: 10_000 };
const all = async (events: AsyncIterable<TestEvent>): Promise<readonly TestEvent[]> => {
  const found: TestEvent[] = [];
  for await (const event of events) found.push(event);
  return found;
};

test('a test of which nobody waits for the end any more ends, though it has found nothing to say', async () => {
  const run = begin();
  const gone = new AbortController();
  setTimeout(() => gone.abort(), 1);
  expect(await errorOf(all(run(caller, plan, WINDOW, gone.signal)))).toMatchObject({ code: 'unavailable' });
});

test('a few run at a time, and one that has ended makes room', async () => {
  const run = begin();
  const gone = new AbortController();
  const running = Array.from({ length: 4 }, () => errorOf(all(run(caller, plan, WINDOW, gone.signal))));
  expect(await errorOf(all(run(caller, plan, WINDOW, gone.signal)))).toMatchObject({ code: 'overloaded' });
  gone.abort();
  await Promise.all(running);
  expect(await errorOf(all(run(caller, plan, WINDOW, gone.signal)))).toMatchObject({ code: 'unavailable' });
});
