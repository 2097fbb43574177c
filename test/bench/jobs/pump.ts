// Writes many bytes out of one buffer that is never copied, as fast as they are taken.
import type { Writable } from 'node:stream';

const PART = Buffer.alloc(256 * 1024, 'daypass ');

/** Writes so many bytes; the socket stays open. */
export function pump(socket: Writable, bytes: number): void {
  let left = bytes;
  const more = (): void => {
    while (left > 0) {
      const part = left < PART.length ? PART.subarray(0, left) : PART;
      left -= part.length;
      if (!socket.write(part) && left > 0) {
        socket.once('drain', more);
        return;
      }
    }
  };
  more();
}
