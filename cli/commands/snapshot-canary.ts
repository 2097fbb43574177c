// `daypass snapshot status`, `promote` and `take-back`: the changes that some data planes have first.
import { CanarySchema } from '@daypass/sdk/gen/daypass/v1/canary_pb';
import { PromoteResponseSchema, TakeBackResponseSchema } from '@daypass/sdk/gen/daypass/v1/release_pb';
import { Command } from 'commander';
import { canaryText } from '../canary.ts';
import { openConnection } from '../connection.ts';
import { type Context, examples, type With } from '../context.ts';
import { jsonLine } from '../output.ts';
import { addWait, rolloutText, waitField } from '../rollout.ts';

type StatusOptions = With<{ readonly pool?: string }>;
type EndOptions = With<{ readonly pool?: string; readonly id?: string; readonly wait?: string }>;

/** `snapshot status`. */
export const snapshotStatusCommand = (context: Context): Command =>
  examples(
    new Command('status')
      .description('show the newest canary of each pool: who has it, how it does, how it ended')
      .option('--pool <name>', 'of this pool alone')
      .action((_options: unknown, self: Command) => status(context, self.optsWithGlobals<StatusOptions>())),
    'daypass snapshot status',
  );

const status = async ({ io }: Context, options: StatusOptions): Promise<void> => {
  const connection = await openConnection(options, io);
  const { canaries } = await connection.releases.listCanaries({});
  const shown = canaries.filter(({ pool }) => options.pool === undefined || pool === options.pool);
  if (options.json === true) for (const canary of shown) io.out(jsonLine(CanarySchema, canary));
  else io.out(shown.length === 0 ? 'There was no canary yet.\n' : shown.map(canaryText).join('\n'));
};

/** `snapshot promote`. */
export const snapshotPromoteCommand = (context: Context): Command =>
  examples(
    withEnd(new Command('promote').description('give the change of a canary to all data planes of its pool')).action(
      (_options: unknown, self: Command) => promote(context, self.optsWithGlobals<EndOptions>()),
    ),
    'daypass snapshot promote',
    'daypass snapshot promote --pool eu',
  );

/** `snapshot take-back`. */
export const snapshotTakeBackCommand = (context: Context): Command =>
  examples(
    withEnd(
      new Command('take-back').description('end a canary: its data planes get what all others have, as a new version'),
    ).action((_options: unknown, self: Command) => takeBack(context, self.optsWithGlobals<EndOptions>())),
    'daypass snapshot take-back',
  );

const withEnd = (command: Command): Command =>
  addWait(
    command
      .option('--pool <name>', 'the pool (default: default)')
      .option('--id <id>', 'be refused where it is another canary than this'),
  );

const promote = async ({ io }: Context, options: EndOptions): Promise<void> => {
  const wait = waitField(options.wait);
  const connection = await openConnection(options, io);
  const response = await connection.releases.promote({ pool: options.pool ?? '', id: options.id ?? '', ...wait });
  if (options.json === true) io.out(jsonLine(PromoteResponseSchema, response));
  else io.out(`Promoted ${response.canary?.subject ?? ''}.\n${rolloutText(response.rollout)}`);
};

const takeBack = async ({ io }: Context, options: EndOptions): Promise<void> => {
  const wait = waitField(options.wait);
  const connection = await openConnection(options, io);
  const response = await connection.releases.takeBack({ pool: options.pool ?? '', id: options.id ?? '', ...wait });
  if (options.json === true) io.out(jsonLine(TakeBackResponseSchema, response));
  else io.out(`Took ${response.canary?.subject ?? ''} back.\n${rolloutText(response.rollout)}`);
};
