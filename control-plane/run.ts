// The life of the control plane's process: settings, start, ready line, first signal drains, second closes.
import { DaypassError } from '@daypass/core/errors';
import { type App, startApp } from './app.ts';
import { type ControlPlaneConfig, parseConfig } from './config.ts';
import { createLog } from './log.ts';
import type { Environment } from './settings.ts';

const RUNTIME_FAILURE = 1;
const BAD_CONFIGURATION = 2;
/** After this the process ends, whatever still runs. */
const HARD_STOP_MS = 10_000;

/** Runs the control plane until a signal; sets the exit code. */
export const run = async (env: Environment): Promise<void> => {
  // By itself Node would open its inspector, through which every key can be read.
  process.on('SIGUSR1', () => undefined);
  const started = await start(env);
  if (started === undefined) return;
  // Signals are listened to before anybody learns that there is something to stop.
  const end = stopped(started);
  const ready = { ready: true, plane: 'control', listen: started.listen };
  process.stdout.write(`${JSON.stringify(ready)}\n`);
  if (process.send !== undefined) process.send(ready);
  await end;
};

const start = async (env: Environment): Promise<App | undefined> => {
  try {
    const config: ControlPlaneConfig = parseConfig(env);
    const log = createLog(config.logLevel, (line) => process.stderr.write(line));
    return await startApp(config, { log });
  } catch (error) {
    process.exitCode = say(error);
    return undefined;
  }
};

/** One line a problem, naming the variable or file; the exit code. */
const say = (error: unknown): number => {
  if (!(error instanceof DaypassError)) {
    process.stderr.write(
      `The control plane failed: ${error instanceof Error ? (error.stack ?? error.message) : 'unknown'}\n`,
    );
    return RUNTIME_FAILURE;
  }
  process.stderr.write(`${error.message}\n`);
  return error.code === 'config_invalid' ? BAD_CONFIGURATION : RUNTIME_FAILURE;
};

/** Resolves when everything has ended. */
const stopped = (app: App): Promise<void> =>
  new Promise((resolve) => {
    let stopping = false;
    const end = async (): Promise<void> => {
      await app.close();
      // The channel to a parent would keep the process alive.
      if (process.connected) process.disconnect?.();
      resolve();
    };
    const onSignal = (): void => {
      if (stopping) {
        void end();
        return;
      }
      stopping = true;
      setTimeout(() => process.exit(), HARD_STOP_MS).unref();
      void app.drain().then(end, end);
    };
    process.on('SIGHUP', () => void app.reload());
    process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
    // A parent that is gone cannot send a signal any more.
    process.once('disconnect', () => {
      if (!stopping) onSignal();
    });
  });
