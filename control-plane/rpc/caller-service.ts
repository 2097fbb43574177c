// CallerService: Create, List, Delete, WhoAmI.
import type { ServiceImpl } from '@connectrpc/connect';
import { DaypassError } from '@daypass/core/errors';
import type { CallerActor } from '../domain/actor.ts';
import type { Callers } from '../domain/callers.ts';
import type { CallerService } from '../gen/daypass/v1/caller_pb.ts';
import { callerOf } from './authenticate.ts';
import { toRollout, toTime, waitingOf } from './words.ts';

/** The handlers. */
export const callerService = (callers: Callers): ServiceImpl<typeof CallerService> => ({
  create: async ({ caller }, context) => {
    if (caller === undefined) throw new DaypassError('invalid_argument', 'is required', { field: 'caller' });
    const { name, services, admin } = caller;
    const { row, apiKey } = await callers.create(callerOf(context), { name, services, admin });
    return { caller: toCaller(row), apiKey };
  },
  list: async ({ pageSize, pageToken }) => {
    const page = await callers.list({ pageSize, pageToken });
    return { callers: page.rows.map(toCaller), nextPageToken: page.nextPageToken };
  },
  delete: async ({ name, wait }, context) => ({
    rollout: toRollout(await callers.delete(callerOf(context), name, waitingOf(wait, context.signal))),
  }),
  whoAmI: (_request, context) => ({ caller: toCaller(callerOf(context)) }),
});

const toCaller = ({ name, services, admin, createdAt }: Omit<CallerActor, 'kind'>) => ({
  name,
  services: [...services],
  admin,
  createTime: toTime(createdAt),
});
