// Errors of calls become DaypassError in one place, streams included.
import { Code, ConnectError, createRouterTransport } from '@connectrpc/connect';
import { DaypassError } from '@daypass/core/errors';
import { createClients, toDaypassError } from '@daypass/sdk';
import { clientsOver } from '@daypass/sdk/client';
import { AuditService } from '@daypass/sdk/gen/daypass/v1/audit_pb';
import { CallerService } from '@daypass/sdk/gen/daypass/v1/caller_pb';
import { withTypedErrors } from '@daypass/sdk/typed-errors';
import { expect, test } from 'vitest';
import { CONTROL, fetchTo, thrownBy } from './fixture.ts';

test.each([
  [Code.InvalidArgument, 'invalid_argument'],
  [Code.OutOfRange, 'invalid_argument'],
  [Code.Unauthenticated, 'unauthenticated'],
  [Code.PermissionDenied, 'permission_denied'],
  [Code.NotFound, 'not_found'],
  [Code.AlreadyExists, 'already_exists'],
  [Code.FailedPrecondition, 'failed_precondition'],
  [Code.Aborted, 'etag_stale'],
  [Code.ResourceExhausted, 'rate_limited'],
  [Code.Unavailable, 'unavailable'],
  [Code.DeadlineExceeded, 'unavailable'],
  [Code.Canceled, 'unavailable'],
  [Code.Internal, 'internal'],
  [Code.Unknown, 'internal'],
  [Code.Unimplemented, 'internal'],
  [Code.DataLoss, 'internal'],
])('a Connect error of code %d without a name is %s', (code, named) => {
  expect(toDaypassError(new ConnectError('m', code))).toMatchObject({ code: named, message: 'm' });
});

test('the name of an error wins over its Connect code, unless it is unknown', () => {
  const of = (name: string) => toDaypassError(new ConnectError('m', Code.Aborted, { 'daypass-error-code': name })).code;
  expect(of('audit_conflict')).toBe('audit_conflict');
  expect(of('made_up')).toBe('etag_stale');
  expect(of('toString')).toBe('etag_stale');
});

test('a field that cannot be decoded is left out', () => {
  const error = new ConnectError('m', Code.InvalidArgument, { 'daypass-error-field': '%' });
  expect(toDaypassError(error).field).toBeUndefined();
});

test('an error that is typed already stays the same, and anything else is internal', () => {
  const error = new DaypassError('not_found', 'm');
  expect(toDaypassError(error)).toBe(error);
  expect(toDaypassError('x')).toMatchObject({ code: 'internal', cause: 'x' });
});

const failing = createRouterTransport((router) => {
  const error = new ConnectError('m', Code.NotFound, { 'daypass-error-code': 'service_unknown' });
  router.service(CallerService, {
    whoAmI() {
      throw error;
    },
  });
  router.service(AuditService, {
    async *tail() {
      yield {};
      throw error;
    },
  });
});

test('clients over a typed transport throw DaypassError, in a call and in a stream', async () => {
  const clients = clientsOver(withTypedErrors(failing));
  expect(await thrownBy(() => clients.callers.whoAmI({}))).toMatchObject({ code: 'service_unknown' });
  let messages = 0;
  const read = async (): Promise<void> => {
    for await (const _ of clients.audit.tail({})) messages += 1;
  };
  expect(await thrownBy(read)).toMatchObject({ code: 'service_unknown' });
  expect(messages).toBe(1);
});

test('plain clients throw ConnectError and put the authorization on every call', async () => {
  const seen: (string | null)[] = [];
  const fetch = fetchTo((router) => {
    router.service(CallerService, {
      whoAmI(_, context) {
        seen.push(context.requestHeader.get('authorization'));
        throw new ConnectError('m', Code.PermissionDenied);
      },
    });
  });
  const given = ['Bearer a1', 'Bearer a2'];
  const clients = createClients({ baseUrl: CONTROL, authorization: async () => given.shift() ?? '', fetch });
  expect(await thrownBy(() => clients.callers.whoAmI({}))).toBeInstanceOf(ConnectError);
  await thrownBy(() => clients.callers.whoAmI({}));
  await thrownBy(() => createClients({ baseUrl: CONTROL, fetch }).callers.whoAmI({}));
  expect(seen).toEqual(['Bearer a1', 'Bearer a2', null]);
});

test.each([
  [undefined, '30000'],
  [1500, '1500'],
  [0, null],
])('a call of clients with a time of %s has the deadline %s', async (timeoutMs, deadline) => {
  const seen: (string | null)[] = [];
  const fetch = fetchTo((router) => {
    router.service(CallerService, {
      whoAmI(_, context) {
        seen.push(context.requestHeader.get('connect-timeout-ms'));
        return {};
      },
    });
  });
  await createClients({ baseUrl: CONTROL, fetch, timeoutMs }).callers.whoAmI({});
  expect(seen).toEqual([deadline]);
});
