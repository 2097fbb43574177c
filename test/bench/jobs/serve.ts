// What the bench's upstream answers: the same small JSON, or on `/bulk/BYTES` so many bytes, or on `/events/N` events.
// Bodies must come with a Content-Length; they are counted and dropped.
import type { Socket } from 'node:net';
import { readInto } from '../../../data-plane/transport/shared-read.ts';
import { beat } from './beat.ts';
import { beginEvents } from './events.ts';
import { pump } from './pump.ts';

const body = JSON.stringify({ id: 7, state: 'open', title: 'x'.repeat(988) });
const ANSWER = Buffer.from(
  `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
);
const BULK = 'GET /bulk/';
const EVENTS = 'GET /events/';

/** Answers what comes on a connection. */
export function serve(socket: Socket): void {
  let text = '';
  let left = 0;
  socket.on('error', () => socket.destroy());
  readInto(socket, (bytes, length) => {
    beat(performance.now());
    const skipped = Math.min(left, length);
    left -= skipped;
    if (left > 0) return;
    if (skipped > 0) socket.write(ANSWER);
    if (skipped < length) text += bytes.toString('latin1', skipped, length);
    for (let end = text.indexOf('\r\n\r\n'); end >= 0 && left === 0; end = text.indexOf('\r\n\r\n')) {
      const head = text.slice(0, end + 2);
      const following = text.length - end - 4;
      const declared = head.startsWith('POST') ? bodyLength(head) : 0;
      text = text.slice(end + 4 + declared);
      left = Math.max(0, declared - following);
      if (left === 0) answer(socket, head);
    }
  });
}

function answer(socket: Socket, head: string): void {
  if (head.startsWith(BULK)) sendBulk(socket, Number.parseInt(head.slice(BULK.length), 10));
  else if (head.startsWith(EVENTS)) beginEvents(socket);
  else socket.write(ANSWER);
}

function sendBulk(socket: Socket, bytes: number): void {
  socket.write(`HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: ${bytes}\r\n\r\n`);
  pump(socket, bytes);
}

function bodyLength(head: string): number {
  const length = /\r\ncontent-length: *(\d+)\r\n/i.exec(head)?.[1];
  if (length === undefined) throw new Error(`a body without a length: ${head}`);
  return Number(length);
}
