// `daypass init`: makes the home folder with all keys, once.

import { DaypassError } from '@daypass/core/errors';
import { isFleet } from '@daypass/core/home';
import { Command } from 'commander';
import { type Context, examples, type With } from '../context.ts';
import { UsageError } from '../failure.ts';
import { type HomeFolders, inspectHome, makeHome } from '../home.ts';
import { facts } from '../output.ts';
import { homeOf } from '../settings.ts';

type Options = With<{
  readonly fleet?: string;
  readonly rootDir?: string;
  readonly controlDir?: string;
  readonly dataDir?: string;
}>;

/** The command. */
export const initCommand = (context: Context): Command =>
  examples(
    new Command('init')
      .description('make the home folder with all keys; does nothing where one is whole')
      .option('--fleet <uri>', "the fleet's name, a URI (default: a random urn)")
      .option('--root-dir <folder>', 'where the fleet root goes (default: root/ of the home)')
      .option('--control-dir <folder>', "where the control plane's files go (default: control/ of the home)")
      .option('--data-dir <folder>', "where the data plane's files go (default: data/ of the home)")
      .action((_options: unknown, command: Command) => init(context, command.optsWithGlobals<Options>())),
    'daypass init',
    'daypass init --home /var/lib/daypass --root-dir /media/safe/root',
  );

/** Makes a home where there is none; says what it found or made. @throws DaypassError `failed_precondition` for a part of one */
export const ensureHome = async (
  folders: HomeFolders,
  options: { readonly fleet?: string | undefined; readonly nowSeconds: number },
): Promise<{
  readonly made: boolean;
  readonly apart: readonly string[];
  readonly fleet?: string;
  readonly root?: string;
}> => {
  const state = await inspectHome(folders);
  switch (state.kind) {
    case 'whole':
      return { made: false, apart: state.apart };
    case 'partial':
      throw new DaypassError(
        'failed_precondition',
        `the home ${folders.home} is not whole: missing ${state.missing.join(', ')}; bring the files back, or move the folder away to start afresh`,
        state.missing[0] === undefined ? {} : { field: state.missing[0] },
      );
    case 'absent': {
      const { fleet, rootFingerprint } = await makeHome(folders, options);
      return { made: true, apart: [], fleet, root: rootFingerprint };
    }
    default:
      return state satisfies never;
  }
};

const init = async ({ io }: Context, options: Options): Promise<void> => {
  if (options.fleet !== undefined && !isFleet(options.fleet))
    throw new UsageError(`--fleet takes a URI such as urn:example:fleet-1, not "${options.fleet}"`, '--fleet');
  const home = homeOf(options, io.env);
  const folders = { home, rootDir: options.rootDir, controlDir: options.controlDir, dataDir: options.dataDir };
  const result = await ensureHome(folders, { fleet: options.fleet, nowSeconds: io.now() / 1000 });
  if (options.json === true) {
    io.out(`${JSON.stringify({ home, ...result })}\n`);
    return;
  }
  for (const path of result.apart) io.note(`${path} is not here; it may well be kept elsewhere`);
  if (!result.made) {
    io.out(`The home ${home} is whole already; nothing was changed.\n`);
    return;
  }
  io.out(
    facts([
      ['home', home],
      ['fleet', result.fleet ?? ''],
      ['fleet root', `SHA-256 ${result.root}`],
    ]),
  );
  io.out(`Keep ${folders.rootDir ?? `${home}/root`} apart from both planes: neither needs it to run.\n`);
};
