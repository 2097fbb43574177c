// `daypass credentials`: the sealed credentials of services, sealed anew when the key of a pool is rotated.
import { Command } from 'commander';
import { openAsNode, openConnection } from '../connection.ts';
import { type Context, examples, type With } from '../context.ts';
import { UsageError } from '../failure.ts';
import { addFolders, type FolderOptions, foldersOf } from '../home-flags.ts';
import type { Io } from '../io.ts';
import { readNodeFiles } from '../node-files.ts';
import { table } from '../output.ts';
import { handBack, type Outcome, type Resealed, resealPool } from '../reseal.ts';
import { readResealed, writeResealed } from '../resealed-file.ts';

type ResealOptions = With<FolderOptions & { readonly pool?: string; readonly out?: string }>;

/** The command and its subcommands. */
export const credentialsCommand = (context: Context): Command =>
  new Command('credentials')
    .description("the services' sealed credentials")
    .addCommand(resealCommand(context))
    .addCommand(applyCommand(context));

const resealCommand = (context: Context): Command =>
  examples(
    addFolders(
      new Command('reseal')
        .description(
          "on a data plane: open the pool's credentials with the keys of data/sealing/, seal them to the newest, hand them back",
        )
        .option('--pool <name>', 'be refused where the data plane is of another pool')
        .option('--out <file>', 'write the ciphertext to a file for `credentials apply`; no API key is needed then'),
    ).action((_options: unknown, self: Command) => reseal(context, self.optsWithGlobals<ResealOptions>())),
    'daypass credentials reseal --pool default --out resealed.json',
    'DAYPASS_API_KEY=… daypass credentials reseal',
  );

const applyCommand = (context: Context): Command =>
  examples(
    new Command('apply')
      .description('take over credentials that were sealed anew, each in the place of the very one that it was made of')
      .argument('<file>', 'what `credentials reseal --out` wrote')
      .action((file: string, _options: unknown, self: Command) => apply(context, file, self.optsWithGlobals())),
    'daypass credentials apply resealed.json',
  );

const reseal = async (context: Context, options: ResealOptions): Promise<void> => {
  const { io } = context;
  const files = await readNodeFiles(foldersOf(options, io));
  if (options.pool !== undefined && options.pool !== files.pool)
    throw new UsageError(
      `this data plane is of the pool "${files.pool}", whose credentials alone it can open`,
      '--pool',
    );
  const node = openAsNode(options, io, files);
  // Asked for first: nothing is opened that cannot be handed back.
  const admin = options.out === undefined ? await openConnection({ ...options, controlUrl: node.url }, io) : undefined;
  const { kid, resealed, others } = await resealPool(node, files, io.now() / 1000);
  if (options.out !== undefined) {
    await writeResealed(options.out, resealed);
    show(context, options, [...others, ...resealed.map(done)]);
    io.note(`${resealed.length} credentials are in ${options.out}: \`daypass credentials apply\` hands them back`);
    return;
  }
  const handed = admin === undefined ? [] : await collect(handBack(admin, resealed));
  show(context, options, [...others, ...handed]);
  io.note(`what is sealed anew is sealed to ${kid}`);
};

const apply = async (context: Context, file: string, options: With<object>): Promise<void> => {
  const credentials = await readResealed(file);
  const connection = await openConnection(options, context.io);
  show(context, options, await collect(handBack(connection, credentials)));
};

const done = ({ service }: Resealed): Outcome => ({ service, result: 'resealed' });

const collect = async (outcomes: AsyncIterable<Outcome>): Promise<readonly Outcome[]> => {
  const all: Outcome[] = [];
  for await (const outcome of outcomes) all.push(outcome);
  return all;
};

/** Says what became of each; the exit code is 1 where not all are sealed to the new key. */
const show = (
  { io, exit }: { readonly io: Io; readonly exit: (code: number) => void },
  { json: asJson }: With<object>,
  outcomes: readonly Outcome[],
): void => {
  if (asJson === true) for (const outcome of outcomes) io.out(`${JSON.stringify(outcome)}\n`);
  else
    io.out(
      table(
        ['SERVICE', 'RESULT', ''],
        outcomes.map(({ service, result, code = '' }) => [service, result, result === 'changed' ? CHANGED : code]),
      ),
    );
  if (outcomes.some(({ result }) => result === 'changed' || result === 'failed')) exit(1);
};

const CHANGED = 'it was changed since: reseal again';
