// One kept connection of a load: written to as it is, read for whole answers that have a Content-Length.
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

/** Opens a connection. `answered` is told the status of every answer when its last byte has come. */
export function open(url: string, answered: (status: string) => void, lost: (error: Error) => void): Promise<Socket> {
  const { hostname, port, protocol } = new URL(url);
  const take = reader(answered);
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const socket =
    protocol === 'https:'
      ? // The certificate is the bench's own.
        connectTls({ host: hostname, port: Number(port), rejectUnauthorized: false }, () => resolve(socket))
      : connect({ host: hostname, port: Number(port), noDelay: true, onread: { buffer: ROOM, callback } }, () =>
          resolve(socket),
        );
  function callback(length: number): boolean {
    take(ROOM, length);
    return true;
  }
  if (protocol === 'https:') socket.on('data', (bytes: Buffer) => take(bytes, bytes.length));
  socket.on('error', reject);
  socket.on('close', () => lost(new Error('a connection was closed')));
  return promise;
}

/** A request without a body, or the head of one with `length` bytes, which may follow at once. */
export function requestOf(url: string, token: string, length?: number): string {
  const { host, pathname } = new URL(url);
  const fields = [`Host: ${host}`, `Authorization: Bearer ${token}`, 'Accept: application/json', 'User-Agent: bench'];
  if (length !== undefined) fields.push('Content-Type: application/json', `Content-Length: ${length}`);
  return [`${length === undefined ? 'GET' : 'POST'} ${pathname} HTTP/1.1`, ...fields, '', ''].join('\r\n');
}

/** All plain connections read into it: what is in it is looked at at once. */
const ROOM = Buffer.allocUnsafeSlow(1024 * 1024);

function reader(answered: (status: string) => void): (bytes: Buffer, length: number) => void {
  let head = '';
  let rest = -1;
  return (bytes, length) => {
    if (rest < 0) {
      head += bytes.toString('latin1', 0, length);
      const split = head.indexOf('\r\n\r\n');
      if (split < 0) return;
      const declared = /\r\ncontent-length: *(\d+)/i.exec(head.slice(0, split))?.[1];
      if (declared === undefined) throw new Error(`an answer without a length: ${head.slice(0, 200)}`);
      rest = Number(declared) - (head.length - split - 4);
      head = head.slice(9, 12);
    } else {
      rest -= length;
    }
    if (rest > 0) return;
    const status = head;
    head = '';
    rest = -1;
    answered(status);
  };
}
