// `daypass up`: both planes and a demo upstream on this machine, until Ctrl-C.
import { resolve } from 'node:path';
import { Command } from 'commander';
import { type Context, examples, type With } from '../context.ts';
import { runFleet } from '../fleet.ts';
import { addSettings, homeOf, nonEmpty, planeEnvironment } from '../settings.ts';
import { ensureHome } from './init.ts';

type Options = With<{ readonly demo?: boolean }>;

/** The command. */
export const upCommand = (context: Context): Command =>
  examples(
    addSettings(
      new Command('up')
        .description('run both planes and a demo upstream on this machine; makes the home folder at first start')
        .option('--demo', 'with the demo upstream (default; DAYPASS_DEMO)')
        .option('--no-demo', 'without the demo upstream (DAYPASS_DEMO=0)'),
      'up',
    ).action((_options: unknown, command: Command) => up(context, command.optsWithGlobals<Options>())),
    'daypass up',
    'daypass up --no-demo --home /var/lib/daypass',
    'DAYPASS_DATA_LISTEN=127.0.0.1:9000 daypass up',
  );

const up = async ({ io, exit }: Context, options: Options): Promise<void> => {
  const home = homeOf(options, io.env);
  const env = planeEnvironment(io.env, options);
  const result = await ensureHome({ home }, { nowSeconds: io.now() / 1000 });
  if (result.made && options.json !== true)
    io.out(`Made the home ${home} with all keys; fleet root SHA-256 ${result.root}\n`);
  const withDemo = nonEmpty(io.env.DAYPASS_DEMO) === '0' ? options.demo === true : options.demo !== false;
  exit(await runFleet(io, { env: { ...env, DAYPASS_HOME: resolve(home) }, home, withDemo, options }));
};
