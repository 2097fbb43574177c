// `daypass keys rotate`: makes a new key beside those that are there, and says what has to be handed to whom.
import { Argument, Command } from 'commander';
import { type Context, examples, type With } from '../context.ts';
import { UsageError } from '../failure.ts';
import { addFolders, type FolderOptions, foldersOf } from '../home-flags.ts';
import { facts } from '../output.ts';
import { type Rotated, rotateSeal, rotateSnapshot, rotateToken } from '../rotation.ts';

type Use = 'token' | 'snapshot' | 'seal';
type Options = With<
  FolderOptions & { readonly pool?: string; readonly newPool?: boolean; readonly compromised?: boolean }
>;

/** The command. */
export const keysRotateCommand = (context: Context): Command =>
  examples(
    addFolders(
      new Command('rotate')
        .description('make a new key in the folders of the home; running planes take it up by themselves')
        .addArgument(new Argument('<use>', 'what the key is for').choices(['token', 'snapshot', 'seal']))
        .option(
          '--pool <name>',
          'of a snapshot or sealing key: the pool that it is for (default: all, or the only one)',
        )
        .option('--new-pool', 'make that pool: it begins with this key')
        .option('--compromised', 'of a snapshot key: no data plane that has seen the new one takes the old one again'),
    ).action((use: Use, _options: unknown, self: Command) => rotate(context, use, self.optsWithGlobals<Options>())),
    'daypass keys rotate token',
    'daypass keys rotate snapshot --root-dir /media/safe/root',
    'daypass keys rotate seal --pool default --root-dir /media/safe/root --data-dir ./to-the-nodes',
  );

const rotate = async ({ io }: Context, use: Use, options: Options): Promise<void> => {
  refuseFlags(use, options);
  const folders = foldersOf(options, io);
  const asked = { pool: options.pool, newPool: options.newPool, nowSeconds: io.now() / 1000 };
  const done = await {
    token: () => rotateToken(folders),
    snapshot: () => rotateSnapshot(folders, { ...asked, compromised: options.compromised }),
    seal: () => rotateSeal(folders, asked),
  }[use]();
  if (options.json === true) io.out(`${JSON.stringify({ use, ...done })}\n`);
  else io.out(`${text(use, done)}${nextSteps(use, done, options.compromised === true)}`);
};

const refuseFlags = (use: Use, { pool, newPool, compromised }: Options): void => {
  if (compromised === true && use !== 'snapshot')
    throw new UsageError(
      '--compromised is for snapshot keys; `daypass keys retire` ends a token or sealing key',
      '--compromised',
    );
  if (pool !== undefined && use === 'token') throw new UsageError('a token key is for the whole fleet', '--pool');
  if (newPool === true && pool === undefined) throw new UsageError('--new-pool needs --pool', '--new-pool');
};

const text = (use: Use, { kid, pools, generation, written }: Rotated): string =>
  facts([
    [`${use} key`, kid],
    ['pool', pools.join(', ')],
    ['generation', generation === undefined ? '' : String(generation)],
    ...written.map((path) => ['written', path] as const),
  ]);

const nextSteps = (use: Use, { kid, written: [key = '', file = ''] }: Rotated, isCompromised: boolean): string => {
  switch (use) {
    case 'token':
      return `Hand ${key} to every control plane (control/token-keys/). It signs once every data plane knows it: \`daypass keys list\`.\n`;
    case 'snapshot':
      return (
        `Hand both files to every control plane (control/): it signs from then on.\n` +
        (isCompromised ? '' : 'Then end the old one with `daypass keys retire`.\n')
      );
    case 'seal':
      return (
        `1. Hand ${key} to every data plane of the pool (data/sealing/).\n` +
        `2. Then hand ${file} to every control plane (control/): new credentials are sealed to it from then on.\n` +
        `3. On a data plane: \`daypass credentials reseal\`, and then \`daypass keys retire\` of the old key, not of ${kid}.\n`
      );
    default:
      return use satisfies never;
  }
};
