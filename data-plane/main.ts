// The data plane as a process: checks its runtime, reads the environment, says when it is ready, stops on a signal.
import { setFlagsFromString } from 'node:v8';
import type { DataPlane } from './app.ts';
import type { Log } from './log.ts';

const DRAIN_MS = 8_000;
const HARD_STOP_MS = 10_000;
const CLOSE_MS = 3_000;
/** Threads beside the workers that wait for what blocks: Node's own default. */
const POOL_MIN = 4;
const OK = 0;
const FAILED = 1;
const MISCONFIGURED = 2;
/** A heap may grow to five times of what was in use at the last collection of all of it; its limit stays. */
const HEAP_GROWING_PERCENT = 400;

// `await using` and types without a build are from here on.
const NODE_MAJOR = 24;

if (Number.parseInt(process.versions.node, 10) < NODE_MAJOR) {
  process.stderr.write(`The data plane needs Node ${NODE_MAJOR} or newer, this is ${process.versions.node}\n`);
  process.exitCode = MISCONFIGURED;
} else await run();

async function run(): Promise<void> {
  // Imported here, so that an old runtime meets the sentence above first.
  const { parseConfig } = await import('./config.ts');
  const { startDataPlane } = await import('./app.ts');
  const { createLog } = await import('./log.ts');
  // Heaps here are small, and the bodies of uploads are not: by itself V8 would collect several times a second. All threads.
  setFlagsFromString(`--heap-growing-percent=${HEAP_GROWING_PERCENT}`);
  // By itself Node would open its inspector, through which every credential can be read.
  process.on('SIGUSR1', () => undefined);
  try {
    const config = parseConfig(process.env);
    // All threads have one pool for signatures, names and syncs; it is made at its first use.
    process.env.UV_THREADPOOL_SIZE ??= String(POOL_MIN + config.workers);
    const log = createLog(config.logLevel, (line) => process.stderr.write(line));
    process.on('uncaughtException', (error) => {
      log.error('an error that nothing caught ended the process', { error });
      process.exit(FAILED);
    });
    const plane = await startDataPlane(config, log);
    stopOnSignal(plane);
    restartOnSignal(plane, log);
    announce(plane);
    void plane.failed.then((cause) => {
      log.error('workers end faster than they can be replaced', { error: cause });
      process.exitCode = FAILED;
      setTimeout(() => process.exit(FAILED), CLOSE_MS).unref();
      plane.close().then(() => process.exit(FAILED), fail);
    });
  } catch (error) {
    fail(error);
  }
}

function announce({ listen, admin, workers }: DataPlane): void {
  const ready = { ready: true, plane: 'data', listen, admin, workers };
  process.stdout.write(`${JSON.stringify(ready)}\n`);
  process.send?.(ready);
}

/** The first signal drains and closes, the second closes at once. */
function stopOnSignal(plane: DataPlane): void {
  let stopping = false;
  const close = async () => {
    await plane.close();
    process.exitCode = OK;
    if (process.connected) process.disconnect?.();
  };
  const stop = async () => {
    if (stopping) return await close();
    stopping = true;
    setTimeout(() => process.exit(FAILED), HARD_STOP_MS).unref();
    const enough = AbortSignal.timeout(DRAIN_MS);
    await Promise.race([plane.drain(), new Promise((resolve) => enough.addEventListener('abort', resolve))]);
    await close();
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.on(signal, () => {
      stop().catch(fail);
    });
}

/** Replaces the workers; with certificates that cannot be read those that are there go on. */
function restartOnSignal(plane: DataPlane, log: Log): void {
  process.on('SIGHUP', () => {
    log.info('the workers are replaced one by one');
    plane.restart().then(
      () => log.info('all workers have been replaced'),
      (error) => log.error('not all workers could be replaced', { error }),
    );
  });
}

/** One line a problem on stderr. */
function fail(error: unknown): void {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  const known = code === 'config_invalid' || code === 'unavailable';
  process.stderr.write(`${known && error instanceof Error ? error.message : `Internal error: ${String(error)}`}\n`);
  process.exitCode = code === 'config_invalid' ? MISCONFIGURED : FAILED;
}
