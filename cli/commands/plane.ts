// `daypass control-plane` and `daypass data-plane`: one plane alone, with a flag for every setting.
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { controlPlane, dataPlane, type Program, stopWithParent } from '../child.ts';
import { type Context, examples } from '../context.ts';
import { addSettings, planeEnvironment } from '../settings.ts';

/** The command that runs a control plane. */
export const controlPlaneCommand = (context: Context): Command =>
  examples(
    addSettings(
      new Command('control-plane').description('run the control plane: registry, tokens, audit, snapshots'),
      'control',
    ).action((_options: unknown, command: Command) => runPlane(context, controlPlane, command)),
    'daypass control-plane',
    'daypass control-plane --control-listen 0.0.0.0:8480 --control-tls-cert tls.pem --control-tls-key tls.key',
  );

/** The command that runs a data plane. */
export const dataPlaneCommand = (context: Context): Command =>
  examples(
    addSettings(new Command('data-plane').description('run a data plane: the proxy'), 'data').action(
      (_options: unknown, command: Command) => runPlane(context, dataPlane, command),
    ),
    'daypass data-plane',
    'daypass data-plane --control-url https://control.example:8480 --data-public-url https://proxy.example',
  );

/** Runs the plane on this command's own streams, hands signals on, and ends as it ends. */
const runPlane = async ({ io, exit }: Context, program: Program, command: Command): Promise<void> => {
  const child = spawn(process.execPath, [...stopWithParent, fileURLToPath(program.main)], {
    env: planeEnvironment(io.env, command.optsWithGlobals()),
    // A group of its own: a Ctrl-C reaches it once, handed on from here.
    detached: true,
    stdio: ['pipe', 'inherit', 'inherit'],
  });
  const release = io.onStop((signal) => void child.kill(signal));
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  child.once('error', reject);
  child.once('exit', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
  exit(await promise.finally(release));
};
