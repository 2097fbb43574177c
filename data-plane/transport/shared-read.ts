// Reading into one buffer for all sockets, where the runtime lets it: no buffer and no event for each read. A socket
// that fills it gets larger rooms of its own, which go on to another socket as they are, without a copy.
import type { Socket } from 'node:net';
import { ROOM } from './llhttp.ts';

/** What takes the bytes: they are borrowed until the call returns, unless they are kept. */
export type Taker = (bytes: Buffer, length: number) => void;

/** The buffer: what is in it is one socket's until its taker returns. */
const SHARED: Buffer = Buffer.allocUnsafeSlow(ROOM);
/** Bytes of a room; a socket reads no more at once. */
const LARGE = 256 * 1024;
/** Rooms that there are at most; who gets none reads into the shared buffer, and what is kept of it is copied. */
const ROOMS_MAX = 64;

/** Buffers of sockets that bring much. */
class Room {
  readonly bytes = Buffer.allocUnsafeSlow(LARGE);
  /** Who still needs what is in it: the socket that reads into it, and writes under way. */
  users = 0;
  /** One of them no longer does. */
  leave(): void {
    this.users -= 1;
    if (this.users === 0) free.push(this);
  }
}

const free: Room[] = [];
let made = 0;
/** The room that is being handed to a taker. */
let current: Room | undefined;
/**
 * What the socket that was read reads into next, undefined: what it did; the runtime asks right after its taker has
 * returned. At other times it asks for what a new socket reads into.
 */
let next: Buffer | undefined = SHARED;

/** Where a socket reads to. */
export class ReadRoom {
  #room: Room | undefined;

  /** Hands on what was read; returns where the next read goes. */
  take(taker: Taker, bytes: Buffer, length: number): Buffer {
    const room = this.#room;
    current = room;
    taker(bytes, length);
    current = undefined;
    const isFull = length === bytes.length;
    const isStill = room === undefined ? !isFull : isFull && room.users === 1;
    if (!isStill) this.#change(isFull);
    const then = this.#room?.bytes ?? SHARED;
    next = then === bytes ? undefined : then;
    return then;
  }

  /** The socket is closed. */
  end(): void {
    this.#room?.leave();
    this.#room = undefined;
  }

  #change(isFull: boolean): void {
    this.#room?.leave();
    this.#room = isFull ? spare() : undefined;
    if (this.#room !== undefined) this.#room.users = 1;
  }
}

function spare(): Room | undefined {
  const found = free.pop();
  if (found !== undefined || made >= ROOMS_MAX) return found;
  made += 1;
  return new Room();
}

/**
 * Keeps what is being handed to a taker beyond its return, if it is in a buffer that can wait; undefined: it has to be
 * copied. The function is to be called once, when it is no longer needed.
 */
export function keep(part: Buffer): (() => void) | undefined {
  if (current === undefined || part.buffer !== current.bytes.buffer) return undefined;
  const room = current;
  let isKept = true;
  room.users += 1;
  return () => {
    if (isKept) room.leave();
    isKept = false;
  };
}

/** The `buffer` of the `onread` option of sockets that are dialled; what they read goes to `ReadRoom.take`. */
export function nextRoom(): Buffer {
  const room = next;
  next = SHARED;
  // Given none, the runtime goes on with the one it has.
  return room as Buffer;
}

/**
 * Hands what an accepted socket reads to `take`. A socket that a server accepts has no public `onread` option, so the
 * symbols of the one for clients are used; where they are not found, or under TLS, it is the `data` event.
 */
export function readInto(socket: Socket, take: Taker): void {
  const handle: unknown = Reflect.get(socket, '_handle');
  const [bufferKey, takerKey, roomKey] = keysOf(socket);
  const use: unknown = typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'useUserBuffer') : undefined;
  if (
    Reflect.has(socket, 'encrypted') ||
    bufferKey === undefined ||
    takerKey === undefined ||
    roomKey === undefined ||
    typeof use !== 'function'
  ) {
    socket.on('data', (bytes: Buffer) => take(bytes, bytes.length));
    return;
  }
  const room = new ReadRoom();
  Reflect.set(socket, bufferKey, SHARED);
  Reflect.set(socket, takerKey, (length: number, bytes: Buffer) => {
    room.take(take, bytes, length);
    return true;
  });
  Reflect.set(socket, roomKey, nextRoom);
  socket.on('close', () => room.end());
  Reflect.apply(use, handle, [SHARED]);
}

let keys: readonly (symbol | undefined)[] | undefined;

function keysOf(socket: Socket): readonly (symbol | undefined)[] {
  if (keys !== undefined) return keys;
  const own = Object.getOwnPropertySymbols(socket);
  keys = ['kBuffer', 'kBufferCb', 'kBufferGen'].map((name) => own.find(({ description }) => description === name));
  return keys;
}
