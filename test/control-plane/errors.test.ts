// What a caller and the operator hear of an error: the one its code and field, the other what nobody expected.
import { Code, ConnectError, createClient, createRouterTransport } from '@connectrpc/connect';
import { catalogue, DaypassError, type ErrorCode } from '@daypass/core/errors';
import { expect, test } from 'vitest';
import { UNBOUNDED } from '../../control-plane/domain/callers.ts';
import { createChanges } from '../../control-plane/domain/change.ts';
import { CallerService } from '../../control-plane/gen/daypass/v1/caller_pb.ts';
import { TokenService } from '../../control-plane/gen/daypass/v1/token_pb.ts';
import { Health } from '../../control-plane/gen/grpc/health/v1/health_pb.ts';
import { toConnectError } from '../../control-plane/rpc/errors.ts';
import { createErrorInterceptor, guardGate } from '../../control-plane/rpc/intercept.ts';
import { openStore } from '../../control-plane/store/open.ts';
import { errorOf, makeHome, startControl } from './fixture.ts';

test('every code of the catalogue has its Connect code, and its message begins with the field', () => {
  for (const code of Object.keys(catalogue) as ErrorCode[]) {
    const { error } = toConnectError(
      new DaypassError(code, 'is wrong', { field: 'a.b["ü"]', cause: new Error('inner') }),
    );
    expect(Code[error.code].replace(/(?<=[a-z])(?=[A-Z])/g, '_').toLowerCase()).toBe(catalogue[code].connect);
    expect(error.rawMessage).toBe('a.b["ü"]: is wrong');
    expect([error.metadata.get('daypass-error-code'), error.metadata.get('daypass-error-field')]).toEqual([
      code,
      'a.b["?"]',
    ]);
  }
});

test('what nobody expected is "internal" to the caller, and logged once, from calls, streams and the gate', async () => {
  const logged: string[] = [];
  const log = (method: string, error: unknown) => logged.push(`${method}: ${String(error)}`);
  const fail = (): never => {
    throw new TypeError('the inner detail');
  };
  const transport = createRouterTransport(
    (router) => {
      router.service(CallerService, { whoAmI: fail });
      router.service(Health, {
        watch: async function* () {
          yield { status: 1 };
          fail();
        },
      });
    },
    { router: { interceptors: [createErrorInterceptor(log)] } },
  );
  const errors = [
    await errorOf(createClient(CallerService, transport).whoAmI({})),
    await errorOf(drain(createClient(Health, transport).watch({}))),
  ];
  const gate = guardGate(fail, log);
  const context = { method: TokenService.method.mint } as unknown as Parameters<typeof gate>[0];
  errors.push(await errorOf(Promise.resolve(gate(context))));
  for (const error of errors) {
    expect(ConnectError.from(error).code).toBe(Code.Internal);
    expect(ConnectError.from(error).rawMessage).toBe('Internal error');
  }
  expect(logged).toEqual([
    'daypass.v1.CallerService/WhoAmI: TypeError: the inner detail',
    'grpc.health.v1.Health/Watch: TypeError: the inner detail',
    'daypass.v1.TokenService/Mint: TypeError: the inner detail',
  ]);
});

test('wrong JSON, a wrong type and an unknown enum are the caller’s fault', async () => {
  await using control = await startControl();
  for (const body of ['{', '{"service": 5}', '{"allow": "GET /"}', '{"ttl": "soon"}', '[]']) {
    const answer = await fetch(`${control.url}/daypass.v1.TokenService/Mint`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${control.home.adminKey}` },
      body,
    });
    expect([body, answer.status, await answer.json()]).toMatchObject([body, 400, { code: 'invalid_argument' }]);
  }
});

test('a caller that was deleted while its call ran changes nothing, nor does one that has its name now', async () => {
  const home = await makeHome();
  const store = await openStore({ url: `sqlite:${home.path}/test.db` });
  try {
    const announced: unknown[] = [];
    const publisher = { build: () => Promise.reject(new Error('unused')), activate: () => {} };
    const announce = (events: readonly unknown[]) => announced.push(...events);
    const changes = createChanges({ store, publisher, announce, now: () => 5, newId: () => 'id' });
    const bounds = { ...UNBOUNDED, services: [], etag: '' };
    const caller = { ...bounds, kind: 'caller', name: 'bot', admin: true, createdAt: 1 } as const;
    const run = () => changes.run(caller, 'X/Y', async () => ({ value: 1, pools: [], note: { path: 'x' } }));
    expect(await errorOf(run())).toMatchObject({ code: 'unauthenticated' });
    const row = { ...bounds, name: 'bot', keyHash: 'a'.repeat(64), admin: true };
    await store.transact((tx) => tx.callers.put({ ...row, createdAt: 2 }));
    expect(await errorOf(run())).toMatchObject({ code: 'unauthenticated' });
    expect(announced).toEqual([]);
    await store.transact(async (tx) => {
      await tx.callers.delete('bot');
      await tx.callers.put({ ...row, createdAt: 1 });
    });
    expect((await run()).value).toBe(1);
    expect(announced).toHaveLength(1);
  } finally {
    await store.close();
    await home.remove();
  }
});

/** Reads a stream to its end. */
const drain = async (stream: AsyncIterable<unknown>): Promise<void> => {
  for await (const _ of stream);
};
