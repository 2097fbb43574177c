// ServiceRegistry: Create, Get, List, Update, SetScope, ListOperations, Delete.
import type { ServiceImpl } from '@connectrpc/connect';
import type { SetScope } from '../domain/scopes.ts';
import type { Services } from '../domain/services.ts';
import type { ServiceRegistry } from '../gen/daypass/v1/service_pb.ts';
import { callerOf } from './authenticate.ts';
import { present, toInput, toService, toUpdate } from './service-words.ts';
import { releasingOf, toRollout } from './words.ts';

/** The handlers. */
export const serviceRegistry = (services: Services, setScope: SetScope): ServiceImpl<typeof ServiceRegistry> => ({
  create: async (request, context) => {
    const input = toInput(present(request.service));
    const change = await services.create(callerOf(context), input, releasingOf(request, context.signal));
    return { service: toService(change.row), rollout: toRollout(change.rollout) };
  },
  get: async ({ name }, context) => ({ service: toService(await services.get(callerOf(context), name)) }),
  list: async ({ pageSize, pageToken }, context) => {
    const page = await services.list(callerOf(context), { pageSize, pageToken });
    return { services: page.rows.map(toService), nextPageToken: page.nextPageToken };
  },
  update: async (request, context) => {
    const releasing = releasingOf(request, context.signal);
    const change = await services.update(callerOf(context), toUpdate(request), releasing);
    return { service: toService(change.row), rollout: toRollout(change.rollout) };
  },
  setScope: async (request, context) => {
    const { service, scope, rules, etag } = request;
    const input = { service, scope, rules: rules?.rules, etag };
    const change = await setScope(callerOf(context), input, releasingOf(request, context.signal));
    return { service: toService(change.row), rollout: toRollout(change.rollout) };
  },
  listOperations: async ({ service, pageSize, pageToken, contains, ids }, context) => {
    const asked = { service, pageSize, pageToken, contains, ids };
    const page = await services.listOperations(callerOf(context), asked);
    return { operations: [...page.rows], nextPageToken: page.nextPageToken };
  },
  delete: async (request, context) => {
    const releasing = releasingOf(request, context.signal);
    return { rollout: toRollout(await services.delete(callerOf(context), request.name, request.etag, releasing)) };
  },
});
