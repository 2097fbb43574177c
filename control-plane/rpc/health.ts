// grpc.health.v1: serving while the database answers and the server is not stopping.
import { Code, ConnectError, type ServiceImpl } from '@connectrpc/connect';
import { type Health, HealthCheckResponse_ServingStatus as Status } from '../gen/grpc/health/v1/health_pb.ts';

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
      let said: Status | undefined;
      while (!signal.aborted) {
        const status = known.has(service) ? await look() : Status.SERVICE_UNKNOWN;
        if (status !== said) yield { status };
        said = status;
        await pause(LOOK_MS, signal);
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
