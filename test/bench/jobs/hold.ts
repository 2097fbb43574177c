// Connections that are kept and idle: each has had one request answered.
import type { Socket } from 'node:net';
import { open, requestOf } from './lane.ts';

/** How many, and where. */
export type Hold = { readonly url: string; readonly token: string; readonly connections: number };

/** Connections that are opened at one time. */
const AT_ONCE = 32;

const held = new Set<Socket>();
let isOver = false;

/** Opens them; answers when all have had their request answered. */
export async function hold({ url, token, connections }: Hold): Promise<{ readonly open: number }> {
  isOver = false;
  const request = requestOf(url, token);
  let left = connections;
  const some = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      await one(url, request);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, some));
  return { open: held.size };
}

/** Says how many are still open, and closes them. */
export function letGo(): { readonly open: number } {
  const open = held.size;
  isOver = true;
  for (const socket of held) socket.destroy();
  held.clear();
  return { open };
}

async function one(url: string, request: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const socket = await open(url, resolve, (error) => {
    held.delete(socket);
    if (!isOver) reject(error);
  });
  held.add(socket);
  socket.write(request);
  const status = await promise;
  if (status !== '200') throw new Error(`answered with ${status}`);
}
