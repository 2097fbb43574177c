// grpc.health.v1: serving while the database answers and the server is not stopping.
import { Code, ConnectError, type ServiceImpl } from '@connectrpc/connect';
import { DaypassError } from '@daypass/core/errors';
import { type Health, HealthCheckResponse_ServingStatus as Status } from '../gen/grpc/health/v1/health_pb.ts';

/** Watches at a time: anyone may ask for one. */
const WATCHES_MAX = 256;
/** Longest time between two looks of a watch. */
const LOOK_MS = 5000;

type Deps = {
  /** Names of the services that are served. */
  readonly services: readonly string[];
  /** Throws when the control plane cannot serve. */
  readonly check: () => Promise<void>;
};

/** The handlers. */
export const health = ({ services, check }: Deps): ServiceImpl<typeof Health> => {
  const known = new Set(['', ...services]);
  let watches = 0;
  const look = async (): Promise<Status> => {
    try {
      await check();
      return Status.SERVING;
    } catch {
      return Status.NOT_SERVING;
    }
  };
  return {
    check: async ({ service }) => {
      if (!known.has(service)) throw new ConnectError('there is no such service', Code.NotFound);
      return { status: await look() };
    },
    watch: async function* ({ service }, { signal }) {
      if (watches >= WATCHES_MAX) throw new DaypassError('overloaded', 'There are too many watches');
      watches += 1;
      try {
        let said: Status | undefined;
        while (!signal.aborted) {
          const status = known.has(service) ? await look() : Status.SERVICE_UNKNOWN;
          if (status !== said) yield { status };
          said = status;
          await pause(LOOK_MS, signal);
        }
      } finally {
        watches -= 1;
      }
    },
    list: async () => {
      const status = await look();
      return { statuses: Object.fromEntries([...known].map((name) => [name, { status }])) };
    },
  };
};

const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done, { once: true });
    if (signal.aborted) done();
  });
