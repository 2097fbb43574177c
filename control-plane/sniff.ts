// Tells HTTP/2 with prior knowledge from HTTP/1.1 on a cleartext connection, by its first 24 bytes (RFC 9113 §3.4).
import type { Socket } from 'node:net';

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

/** Reads until the version is clear, gives all back, and calls `decide` once. A silent connection is ended after `ms`. */
export const sniff = (socket: Socket, ms: number, decide: (version: 1 | 2) => void): void => {
  // Kept here, and given back once: giving back and waiting for more would spin.
  let seen = Buffer.alloc(0);
  const stop = (): void => {
    clearTimeout(timer);
    socket.off('data', look).off('error', drop).off('close', stop);
  };
  const drop = (): void => {
    stop();
    socket.destroy();
  };
  const timer = setTimeout(drop, ms);
  const look = (chunk: Buffer): void => {
    seen = Buffer.concat([seen, chunk]);
    const length = Math.min(seen.length, PREFACE.length);
    const isPreface = seen.subarray(0, length).equals(PREFACE.subarray(0, length));
    if (isPreface && length < PREFACE.length) return;
    stop();
    socket.pause();
    socket.unshift(seen);
    decide(isPreface ? 2 : 1);
  };
  socket.on('data', look).on('error', drop).on('close', stop);
};
