// `daypass node`: lets a data plane in, and puts one out.
import { durationFromMs, timestampDate } from '@bufbuild/protobuf/wkt';
import { CreateEnrolmentResponseSchema, ExpelResponseSchema, type Node } from '@daypass/sdk/gen/daypass/v1/node_pb';
import { Command } from 'commander';
import { openConnection } from '../connection.ts';
import { type Context, examples, type With } from '../context.ts';
import { durationFlag } from '../duration.ts';
import { UsageError } from '../failure.ts';
import { jsonLine, printable } from '../output.ts';
import { addWait, rolloutText, waitField } from '../rollout.ts';
import { nodeEnrollCommand } from './node-enroll.ts';

type TokenOptions = With<{ readonly pool?: string; readonly name?: string; readonly ttl?: string }>;
type ExpelOptions = With<{ readonly wait?: string }>;

/** The command and its subcommands. */
export const nodeCommand = (context: Context): Command => {
  const command = new Command('node').description('let a data plane into the fleet, and put one out');
  for (const make of [tokenCommand, nodeEnrollCommand, expelCommand]) command.addCommand(make(context));
  return command;
};

const tokenCommand = (context: Context): Command =>
  examples(
    new Command('token')
      .description('make a token by which one data plane enrols; it alone goes to stdout, this once')
      .option('--pool <name>', 'the pool that it joins (default: default)')
      .option('--name <name>', 'the name that it gets (default: it says one itself)')
      .option('--ttl <duration>', 'how long the token lives, 1s to 24h (default 1h)')
      .action((_options: unknown, self: Command) => makeToken(context, self.optsWithGlobals<TokenOptions>())),
    'daypass node token --pool eu --name edge-1',
    '(umask 077; daypass node token --ttl 10m > edge-1.token)',
  );

const LONGEST_TTL_MS = 24 * 60 * 60 * 1000;

const makeToken = async ({ io }: Context, { pool = '', name = '', ...options }: TokenOptions): Promise<void> => {
  const ttlMs = options.ttl === undefined ? undefined : durationFlag(options.ttl, '--ttl');
  if (ttlMs !== undefined && (ttlMs < 1000 || ttlMs > LONGEST_TTL_MS))
    throw new UsageError('--ttl is 1s to 24h', '--ttl');
  const connection = await openConnection(options, io);
  const ttl = ttlMs === undefined ? {} : { ttl: durationFromMs(ttlMs) };
  const made = await connection.nodes.createEnrolment({ pool, name, ...ttl });
  if (options.json === true) {
    io.out(jsonLine(CreateEnrolmentResponseSchema, made));
    return;
  }
  const ends = made.expireTime === undefined ? '' : `, until ${timestampDate(made.expireTime).toISOString()}`;
  io.err(
    `Good once${ends}, for one node of the pool "${made.pool}". On its machine:\n` +
      `  daypass node enroll --control-url ${connection.url} --token -${made.name === '' ? ' --name NAME' : ''}\n`,
  );
  io.out(`${made.token}\n`);
};

const expelCommand = (context: Context): Command =>
  examples(
    addWait(
      new Command('expel')
        .description("end a node's key at once and for ever; its name is not used again")
        .argument('<name>', 'the node'),
    ).action((name: string, _options: unknown, self: Command) =>
      expel(context, name, self.optsWithGlobals<ExpelOptions>()),
    ),
    'daypass node expel edge-1',
  );

const expel = async ({ io }: Context, name: string, options: ExpelOptions): Promise<void> => {
  const wait = waitField(options.wait);
  const connection = await openConnection(options, io);
  const response = await connection.nodes.expel({ name, ...wait });
  if (options.json === true) {
    io.out(jsonLine(ExpelResponseSchema, response));
    return;
  }
  io.out(`Expelled ${name}: its key is refused from now on.\n${rolloutText(response.rollout)}`);
  if (response.node !== undefined) io.out(restText(response.node, io.now()));
};

/** What an expelled node can still do, and what ends that. */
const restText = ({ pool, leaseExpiresAt }: Node, now: number): string => {
  const ends = leaseExpiresAt === undefined ? undefined : timestampDate(leaseExpiresAt);
  const lease =
    ends === undefined || ends.getTime() <= now
      ? ''
      : `Until its lease ends, ${ends.toISOString()}, it may go on serving what it has.\n`;
  return `${lease}It holds the keys that open the credentials of the pool: rotate them with \`daypass keys rotate seal --pool ${printable(pool)}\`.\n`;
};
