// The clients of a fleet as its bench sees them: told what to ask with, and heard of until something is so at every node.
import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Said, Told } from './fleet-traffic.ts';

/** The clients. */
export type Clients = {
  /** Where their upstream is. */
  readonly upstream: string;
  readonly pid: number;
  tell(told: Told): void;
  /** The times at which each of so many nodes first said something that fits, all said from now on; rejects after `withinMs`. */
  every(nodes: number, fits: (said: Said) => boolean, withinMs?: number): Promise<readonly number[]>;
  /** Latencies noted since the last time. */
  latencies(): Promise<Extract<Said, { latencies: unknown }>>;
  [Symbol.dispose](): void;
};

/** Starts them. */
export async function startClients(): Promise<Clients> {
  const child = fork(fileURLToPath(new URL('./fleet-traffic.ts', import.meta.url)));
  const hearers = new Set<(said: Said) => void>();
  child.on('message', (said: Said) => {
    for (const hear of [...hearers]) hear(said);
  });
  const next = <T extends Said>(fits: (said: Said) => said is T): Promise<T> =>
    new Promise((resolve) => {
      const hear = (said: Said): void => {
        if (!fits(said)) return;
        hearers.delete(hear);
        resolve(said);
      };
      hearers.add(hear);
    });
  const tell = (told: Told): void => void child.send(told);
  const { upstream } = await next((said) => 'upstream' in said);
  return {
    upstream: `http://127.0.0.1:${upstream}`,
    pid: child.pid ?? 0,
    tell,
    every: (nodes, fits, withinMs = 20_000) =>
      new Promise((resolve, reject) => {
        const times = new Map<number, number>();
        const late = setTimeout(() => {
          hearers.delete(hear);
          reject(new Error(`${nodes - times.size} of ${nodes} nodes have not done so in time`));
        }, withinMs);
        const hear = (said: Said): void => {
          if (!('node' in said) || !fits(said)) return;
          if (!times.has(said.node)) times.set(said.node, said.at);
          if (times.size < nodes) return;
          clearTimeout(late);
          hearers.delete(hear);
          resolve([...times.values()]);
        };
        hearers.add(hear);
      }),
    latencies: () => {
      const said = next((one) => 'latencies' in one);
      tell({ note: true });
      return said;
    },
    [Symbol.dispose]: () => void child.kill('SIGTERM'),
  };
}
