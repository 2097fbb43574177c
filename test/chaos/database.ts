// PostgreSQL as a member of the fleet: it is killed like the others, and comes back with what was committed.
import { setTimeout as pause } from 'node:timers/promises';
import { until } from '../kit/deadline.ts';
import type { PostgresServer } from '../kit/postgres.ts';
import type { Member } from './member.ts';

const UP_MS = 60_000;
const RETRY_MS = 250;

/** Makes a member of a server that runs. */
export function createDatabase(server: PostgresServer): Member {
  const restarts: number[] = [];
  let upSince = performance.now();
  const isUp = () => upSince < Number.POSITIVE_INFINITY;

  /** What a killed server leaves behind keeps the next from starting for a moment. */
  const started = (): Promise<boolean> =>
    server.start().then(
      () => true,
      () => pause(RETRY_MS, false),
    );

  const up = async (): Promise<number> => {
    const began = performance.now();
    await until('PostgreSQL is ready', started, UP_MS);
    upSince = performance.now();
    return upSince - began;
  };
  return {
    name: 'postgres',
    restarts,
    up,
    isUp,
    wasDown: (since) => !isUp() || upSince >= since,
    disrupt: async (signal, downMs) => {
      upSince = Number.POSITIVE_INFINITY;
      // What SIGTERM is to others: an end that waits for nobody.
      await server.stop(signal === 'SIGKILL' ? 'SIGKILL' : 'SIGINT');
      await pause(downMs);
      restarts.push(await up());
    },
    lastWords: () => '',
    stop: () => server.remove(),
  };
}
