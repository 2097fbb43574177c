// `daypass caller`: who may talk to the control plane.
import { timestampDate } from '@bufbuild/protobuf/wkt';
import {
  type Caller,
  CallerSchema,
  CallerServiceCreateResponseSchema,
  CallerServiceDeleteResponseSchema,
} from '@daypass/sdk/gen/daypass/v1/caller_pb';
import { Command } from 'commander';
import {
  addCallerFlags,
  boundsText,
  type CallerOptions,
  callerFields,
  servicesText,
  unboundedServices,
} from '../caller-flags.ts';
import { openConnection } from '../connection.ts';
import { type Context, examples, type With } from '../context.ts';
import type { Io } from '../io.ts';
import { jsonLine, table } from '../output.ts';
import { collectItems, eachItem } from '../paging.ts';
import { addWait, rolloutText, waitField } from '../rollout.ts';
import { callerUpdateCommand } from './caller-update.ts';

type CreateOptions = With<CallerOptions>;
type DeleteOptions = With<{ readonly wait?: string }>;

/** The command and its subcommands. */
export const callerCommand = (context: Context): Command => {
  const command = new Command('caller').description(
    'who may talk to the control plane, mint for which services, and how much',
  );
  for (const make of [createCommand, listCommand, callerUpdateCommand, deleteCommand])
    command.addCommand(make(context));
  return command;
};

const createCommand = (context: Context): Command =>
  examples(
    addCallerFlags(
      new Command('create')
        .description('make a caller; its API key alone goes to stdout, this once')
        .argument('<name>', 'lower-case letters, digits and inner hyphens'),
    ).action((name: string, _options: unknown, self: Command) =>
      createCaller(context, name, self.optsWithGlobals<CreateOptions>()),
    ),
    'daypass caller create ci --service github stripe',
    "daypass caller create bot --service github --allow 'github=GET /repos/acme/**' --max-ttl 1h --client triage-bot",
    '(umask 077; daypass caller create ci --service github > ci.key)',
  );

const createCaller = async ({ io }: Context, name: string, options: CreateOptions): Promise<void> => {
  const { fields } = callerFields(options);
  const connection = await openConnection(options, io);
  const response = await connection.callers.create({ caller: { name, ...fields } });
  if (options.json === true) {
    io.out(jsonLine(CallerServiceCreateResponseSchema, response));
    return;
  }
  if (response.caller !== undefined) noteBounds(io, response.caller);
  io.err(`The API key of "${name}", shown this once; keep it safe, and set DAYPASS_API_KEY to it:\n`);
  io.out(`${response.apiKey}\n`);
};

/** What the flags leave open, since nothing asks for it later. */
const noteBounds = (io: Io, caller: Caller): void => {
  if (!caller.admin && caller.services.length === 0) io.note('it may mint for no service (--service gives some)');
  const unbounded = unboundedServices(caller);
  if (unbounded.length > 0) io.note(`it may mint any rule for ${unbounded.join(', ')} (--allow bounds it)`);
};

const listCommand = (context: Context): Command =>
  examples(
    new Command('list')
      .description('list the callers')
      .action((_options: unknown, self: Command) => listCallers(context, self.optsWithGlobals())),
    'daypass caller list',
    'daypass caller list --json',
  );

const listCallers = async ({ io }: Context, options: With<object>): Promise<void> => {
  const connection = await openConnection(options, io);
  const callers = eachItem(async (request) => {
    const { callers: items, nextPageToken } = await connection.callers.list(request);
    return { items, nextPageToken };
  });
  if (options.json === true) {
    for await (const caller of callers) io.out(jsonLine(CallerSchema, caller));
    return;
  }
  const rows = (await collectItems(callers)).map((caller) => [
    caller.name,
    servicesText(caller),
    boundsText(caller),
    caller.createTime === undefined ? '' : timestampDate(caller.createTime).toISOString(),
  ]);
  io.out(table(['NAME', 'MAY MINT FOR', 'BOUNDS', 'CREATED'], rows));
};

const deleteCommand = (context: Context): Command =>
  examples(
    addWait(
      new Command('delete')
        .description("end a caller's API key at once, and cut off the tokens that it minted")
        .argument('<name>', 'the caller'),
    ).action((name: string, _options: unknown, self: Command) =>
      deleteCaller(context, name, self.optsWithGlobals<DeleteOptions>()),
    ),
    'daypass caller delete ci',
  );

const deleteCaller = async ({ io }: Context, name: string, options: DeleteOptions): Promise<void> => {
  const wait = waitField(options.wait);
  const connection = await openConnection(options, io);
  const response = await connection.callers.delete({ name, ...wait });
  if (options.json === true) io.out(jsonLine(CallerServiceDeleteResponseSchema, response));
  else io.out(`Removed ${name}; its tokens are cut off.\n${rolloutText(response.rollout)}`);
};
