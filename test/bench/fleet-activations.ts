// When nodes of a fleet have activated a snapshot, as each of them says by the machine's monotonic clock.
import { createSocket } from 'node:dgram';
import { once } from 'node:events';

/** What a node says: its place in the fleet, the version, ms. */
export type Activation = { readonly node: number; readonly version: number; readonly at: number };

/** Hears the nodes. */
export type Activations = {
  /** Where nodes say it (UDP on loopback). */
  readonly port: number;
  /** The times at which each of so many nodes first had a version above one; rejects after a while. */
  every(nodes: number, above: number): Promise<readonly number[]>;
  [Symbol.dispose](): void;
};

const WITHIN_MS = 20_000;

/** Begins to listen. */
export async function hearActivations(): Promise<Activations> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const hearers = new Set<(said: Activation) => void>();
  socket.on('message', (bytes) => {
    const said = JSON.parse(bytes.toString()) as Activation;
    for (const hear of [...hearers]) hear(said);
  });
  return {
    port: socket.address().port,
    every: (nodes, above) =>
      new Promise((resolve, reject) => {
        const times = new Map<number, number>();
        const end = (): void => {
          clearTimeout(late);
          hearers.delete(hear);
        };
        const late = setTimeout(() => {
          end();
          reject(new Error(`${nodes - times.size} of ${nodes} nodes have not activated it in time`));
        }, WITHIN_MS);
        const hear = ({ node, version, at }: Activation): void => {
          if (version <= above || times.has(node)) return;
          times.set(node, at);
          if (times.size < nodes) return;
          end();
          resolve([...times.values()]);
        };
        hearers.add(hear);
      }),
    [Symbol.dispose]: () => void socket.close(),
  };
}
