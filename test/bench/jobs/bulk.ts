// One large body, up or down, over a connection of its own.
import { open, requestOf } from './lane.ts';
import { pump } from './pump.ts';

/** What to move. */
export type Bulk = {
  /** Ends where the number of bytes goes. */
  readonly url: string;
  readonly token: string;
  readonly direction: 'up' | 'down';
  readonly bytes: number;
};

/** Moves it; seconds from the first byte of the request to the last of the answer. */
export async function bulk({ url, token, direction, bytes }: Bulk): Promise<{ readonly seconds: number }> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const socket = await open(url, resolve, reject);
  const started = performance.now();
  if (direction === 'down') socket.write(requestOf(`${url}${bytes}`, token));
  else {
    socket.write(requestOf(`${url}${bytes}`, token, bytes));
    pump(socket, bytes);
  }
  try {
    const status = await promise;
    if (status !== '200') throw new Error(`${direction}: answered with ${status}`);
    return { seconds: (performance.now() - started) / 1000 };
  } finally {
    socket.destroy();
  }
}
