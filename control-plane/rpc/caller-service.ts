// CallerService: Create, List, Update, Delete, WhoAmI.
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import { DaypassError } from '@daypass/core/errors';
import type { CallerInput } from '../domain/caller-input.ts';
import type { Callers, KnownCaller } from '../domain/callers.ts';
import type { Caller, CallerSchema, CallerService } from '../gen/daypass/v1/caller_pb.ts';
import { callerOf } from './authenticate.ts';
import { durationMs, toDuration, toRollout, toTime, waitingOf } from './words.ts';

/** The handlers. */
export const callerService = (callers: Callers): ServiceImpl<typeof CallerService> => ({
  create: async (request, context) => {
    const { caller, apiKey } = await callers.create(callerOf(context), toInput(present(request.caller)));
    return { caller: toCaller(caller), apiKey };
  },
  list: async ({ pageSize, pageToken }) => {
    const page = await callers.list({ pageSize, pageToken });
    return { callers: page.callers.map(toCaller), nextPageToken: page.nextPageToken };
  },
  update: async (request, context) => {
    const caller = present(request.caller);
    const change = { input: toInput(caller), mask: request.updateMask?.paths ?? [], etag: caller.etag };
    return { caller: toCaller(await callers.update(callerOf(context), change)) };
  },
  delete: async ({ name, wait }, context) => ({
    rollout: toRollout(await callers.delete(callerOf(context), name, waitingOf(wait, context.signal))),
  }),
  whoAmI: async (_request, context) => ({ caller: toCaller(await callers.whoAmI(callerOf(context))) }),
});

const present = (caller: Caller | undefined): Caller => {
  if (caller === undefined) throw new DaypassError('invalid_argument', 'is required', { field: 'caller' });
  return caller;
};

const toInput = (caller: Caller): CallerInput => ({
  name: caller.name,
  services: caller.services,
  admin: caller.admin,
  ceilings: new Map(Object.entries(caller.ceilings).map(([service, { rules }]) => [service, rules])),
  maxTtlMs: durationMs(caller.maxTtl),
  clients: caller.clients?.labels,
  subjects: caller.subjects?.subjects,
  editsScopes: caller.editsScopes,
});

const toCaller = ({ row, ceilings }: KnownCaller): MessageInitShape<typeof CallerSchema> => ({
  name: row.name,
  services: [...row.services],
  admin: row.admin,
  createTime: toTime(row.createdAt),
  ceilings: Object.fromEntries(Object.entries(ceilings).map(([service, rules]) => [service, { rules: [...rules] }])),
  ...(row.maxTtlSeconds === undefined ? {} : { maxTtl: toDuration(row.maxTtlSeconds * 1000) }),
  ...(row.clients === undefined ? {} : { clients: { labels: [...row.clients] } }),
  ...(row.subjects === undefined ? {} : { subjects: { subjects: [...row.subjects] } }),
  editsScopes: row.editsScopes,
  etag: row.etag,
});
