// Writing a part of a body: short ones in one text with what stands around them, others as they are where they may wait.
import type { Socket } from 'node:net';
import { keep } from './shared-read.ts';

/** Bytes that go out in one text with a head. */
export const SHORT = 16 * 1024;

/** Writes a borrowed part behind the text `before`; of a chunked body, as a chunk. */
export function sendPart(socket: Socket, before: string, part: Buffer, isChunk: boolean): void {
  if (part.length <= SHORT) {
    socket.write(before + partText(part, isChunk), 'latin1');
    return;
  }
  const start = isChunk ? before + chunkHead(part) : before;
  const kept = keep(part);
  const bytes = kept === undefined ? Buffer.from(part) : part;
  if (start === '') {
    socket.write(bytes, kept);
    return;
  }
  socket.cork();
  socket.write(start, 'latin1');
  socket.write(bytes, kept);
  if (isChunk) socket.write('\r\n', 'latin1');
  socket.uncork();
}

/** A part as text, in latin1; of a chunked body, as a chunk. */
export function partText(part: Buffer, isChunk: boolean): string {
  const body = part.toString('latin1', 0, part.length);
  return isChunk ? `${chunkHead(part)}${body}\r\n` : body;
}

const chunkHead = (part: Buffer): string => `${part.length.toString(16)}\r\n`;

/** Whether more is to wait for a drain, which then comes. A large part that has gone at once needs none. */
export const isFull = (socket: Socket): boolean => socket.writableLength >= socket.writableHighWaterMark;
