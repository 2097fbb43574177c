// Reading into one buffer for all sockets, where the runtime lets it: no buffer and no event for each read.
import type { Socket } from 'node:net';
import { ROOM } from './llhttp.ts';

/** What takes the bytes: they are borrowed until the call returns. */
export type Taker = (bytes: Buffer, length: number) => void;

/** The buffer: what is in it is one socket's until its taker returns. */
export const SHARED: Buffer = Buffer.allocUnsafeSlow(ROOM);

/**
 * Hands what an accepted socket reads to `take`. A socket that a server accepts has no public `onread` option, so the
 * symbols of the one for clients are used; where they are not found, or under TLS, it is the `data` event.
 */
export function readInto(socket: Socket, take: Taker): void {
  const handle: unknown = Reflect.get(socket, '_handle');
  const [bufferKey, takerKey] = keysOf(socket);
  const use: unknown = typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'useUserBuffer') : undefined;
  if (
    Reflect.has(socket, 'encrypted') ||
    bufferKey === undefined ||
    takerKey === undefined ||
    typeof use !== 'function'
  ) {
    socket.on('data', (bytes: Buffer) => {
      for (let at = 0; at < bytes.length; at += ROOM) {
        const part = bytes.subarray(at, at + ROOM);
        take(part, part.length);
      }
    });
    return;
  }
  Reflect.set(socket, bufferKey, SHARED);
  Reflect.set(socket, takerKey, (length: number) => {
    take(SHARED, length);
    return true;
  });
  Reflect.apply(use, handle, [SHARED]);
}

let keys: readonly (symbol | undefined)[] | undefined;

function keysOf(socket: Socket): readonly (symbol | undefined)[] {
  if (keys !== undefined) return keys;
  const own = Object.getOwnPropertySymbols(socket);
  keys = ['kBuffer', 'kBufferCb'].map((name) => own.find(({ description }) => description === name));
  return keys;
}
