// One process a home: two that append to one audit chain would break it.
import { createHash } from 'node:crypto';
import { mkdir, realpath, unlink } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DaypassError } from '@daypass/core/errors';

/** Longest path of a socket on every system, less the null byte. */
const SOCKET_PATH_MAX = 103;
const CONNECT_MS = 2_000;

/**
 * Holds the folder, making it if need be, until disposed or until the process ends in whatever way: a socket that
 * answers is the lock, so a file left by a killed process locks nothing. Throws `config_invalid` when another holds it.
 */
export async function lockFolder(folder: string): Promise<AsyncDisposable> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const real = await realpath(folder);
  const server = (await holdAt(join(real, 'lock.sock'), folder)) ?? (await holdAt(elsewhere(real), folder));
  if (server === undefined) throw new DaypassError('config_invalid', `${folder} cannot be locked`);
  server.unref();
  return { [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())) };
}

/** For folders with a long path, or on a file system without sockets. */
function elsewhere(folder: string): string {
  const name = `daypass-${createHash('sha256').update(folder).digest('hex').slice(0, 32)}`;
  return process.platform === 'win32' ? `\\\\.\\pipe\\${name}` : join(tmpdir(), `${name}.sock`);
}

/** Undefined when a socket cannot be there at all. */
async function holdAt(path: string, folder: string): Promise<Server | undefined> {
  if (Buffer.byteLength(path) > SOCKET_PATH_MAX) return undefined;
  const first = await listen(path);
  if (first !== 'taken') return first;
  if (await answers(path))
    throw new DaypassError('config_invalid', `${folder} is in use by another data plane`, { field: 'DAYPASS_HOME' });
  await unlink(path);
  const second = await listen(path);
  return second === 'taken' ? undefined : second;
}

function listen(path: string): Promise<Server | 'taken' | undefined> {
  return new Promise((resolve) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', (error) => resolve('code' in error && error.code === 'EADDRINUSE' ? 'taken' : undefined));
    server.listen(path, () => resolve(server));
  });
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const end = (answer: boolean) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    // One that neither answers nor refuses is taken for alive.
    const timer = setTimeout(() => end(true), CONNECT_MS);
    socket.once('connect', () => end(true));
    socket.once('error', () => end(false));
  });
}
