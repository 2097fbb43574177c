// Audit as strict as it gets: nothing goes upstream before its decision is durable.
import { expect, test } from 'vitest';
import { createGroupSync } from '../../data-plane/audit/group-sync.ts';
import { startFixture } from './fixture.ts';
import { ask, codeIn, soon, startRecorder } from './recorder.ts';

async function withStrict(
  commit: () => Promise<void>,
  work: (
    data: Awaited<ReturnType<typeof startFixture>>,
    upstream: Awaited<ReturnType<typeof startRecorder>>,
  ) => Promise<void>,
): Promise<void> {
  using upstream = await startRecorder();
  const service = { name: 'api', origin: upstream.origin, secret: 'S3CRET', is_default: true };
  await using data = await startFixture({ services: [service] });
  Object.assign(data.audit, { commit });
  await work(data, upstream);
}

test('a request goes upstream when its decision is durable, and not before', () => {
  const durable = Promise.withResolvers<void>();
  return withStrict(
    () => durable.promise,
    async (data, upstream) => {
      const asking = ask(data.port, '/public/a', { token: await data.mint() });
      await soon(() => data.audit.decisions.length === 1);
      await new Promise((resolve) => setImmediate(resolve));
      expect([upstream.octets(), data.audit.decisions[0]?.result]).toEqual(['', 'allowed']);
      durable.resolve();
      expect((await asking).status).toBe(200);
      expect([data.audit.decisions.length, data.audit.outcomes.length]).toEqual([1, 1]);
    },
  );
});

test('a service that changes its upstream’s settings meanwhile costs no request', () => {
  const durable = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  let asked = 0;
  return withStrict(
    () => {
      asked += 1;
      return durable[asked - 1]?.promise ?? Promise.resolve();
    },
    async (data, upstream) => {
      const token = await data.mint();
      const first = ask(data.port, '/public/a', { token });
      await soon(() => asked === 1);
      const service = { name: 'api', origin: upstream.origin, secret: 'S3CRET', is_default: true };
      await data.publish({ services: [{ ...service, connect_timeout_ms: 1_500 }] });
      const second = ask(data.port, '/public/b', { token });
      await soon(() => asked === 2);
      durable[1]?.resolve();
      expect((await second).status).toBe(200);
      durable[0]?.resolve();
      expect((await first).status).toBe(200);
    },
  );
});

test('one whose decision cannot be made durable is refused, and nothing of it goes upstream', () =>
  withStrict(
    async () => {
      const { DaypassError } = await import('@daypass/core/errors');
      throw new DaypassError('audit_unavailable', 'The audit cannot be written');
    },
    async (data, upstream) => {
      const answer = await ask(data.port, '/public/a', { token: await data.mint() });
      expect([answer.status, codeIn(answer), upstream.octets()]).toEqual([503, 'audit_unavailable', '']);
      expect(data.audit.outcomes[0]).toMatchObject({ result: 'failed', reason: 'audit_unavailable', status: 503 });
    },
  ));

test('the same when its decision cannot even be written', () =>
  withStrict(
    async () => undefined,
    async (data, upstream) => {
      data.audit.isFailing = true;
      const answer = await ask(data.port, '/public/a', { token: await data.mint() });
      expect([answer.status, codeIn(answer), upstream.octets()]).toEqual([503, 'audit_unavailable', '']);
    },
  ));

test('a refused request waits for no disk', () =>
  withStrict(
    () => new Promise(() => undefined),
    async (data) => {
      expect((await ask(data.port, '/secret', { token: await data.mint() })).status).toBe(403);
    },
  ));

/** Syncs that end when they are told to. */
function heldSyncs() {
  const syncs: PromiseWithResolvers<void>[] = [];
  const sync = createGroupSync(() => {
    const one = Promise.withResolvers<void>();
    syncs.push(one);
    return one.promise;
  });
  return { sync, syncs };
}

test('those who wait share the next sync, and each sync begins after the call', async () => {
  const { sync, syncs } = heldSyncs();
  const first = sync();
  const [second, third] = [sync(), sync()];
  expect([syncs.length, second === third]).toEqual([1, true]);
  syncs[0]?.reject(new Error('the disk is gone'));
  await expect(first).rejects.toThrow('the disk is gone');
  await soon(() => syncs.length === 2);
  const fourth = sync();
  syncs[1]?.resolve();
  await Promise.all([second, third]);
  await soon(() => syncs.length === 3);
  syncs[2]?.resolve();
  await fourth;
});

test('one sync goes on at a time, whenever another one is asked for', async () => {
  const { sync, syncs } = heldSyncs();
  const first = sync();
  // Asked for when the first one has ended and the next has not begun.
  const third = first.then(() => sync());
  const second = sync();
  syncs[0]?.resolve();
  await first;
  await soon(() => syncs.length === 2);
  await new Promise((resolve) => setImmediate(resolve));
  expect(syncs.length).toBe(2);
  syncs[1]?.resolve();
  await Promise.all([second, third]);
});
