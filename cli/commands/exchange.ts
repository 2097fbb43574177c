// `daypass exchange`: a narrower, shorter token in place of another, alone on stdout (RFC 8693).
import { durationFromMs, timestampDate } from '@bufbuild/protobuf/wkt';
import { ExchangeResponseSchema } from '@daypass/sdk/gen/daypass/v1/token_pb';
import { Command } from 'commander';
import { openConnection } from '../connection.ts';
import { type Context, examples, type With } from '../context.ts';
import { durationFlag } from '../duration.ts';
import { UsageError } from '../failure.ts';
import type { Io } from '../io.ts';
import { jsonLine } from '../output.ts';
import { canonicalRules } from '../service-flags.ts';
import { tokenArgument } from '../token-argument.ts';

type Options = With<{
  readonly tokenStdin?: boolean;
  readonly allow?: readonly string[];
  readonly ttl?: string;
  readonly client?: string;
  readonly dpopJkt?: string;
}>;

/** The command. */
export const exchangeCommand = (context: Context): Command =>
  examples(
    new Command('exchange')
      .description('swap a token for a narrower, shorter one; it alone goes to stdout. Revoking the first ends it, too')
      .option('--token-stdin', 'read the token from standard input (default: from DAYPASS_TOKEN)')
      .option('--allow <rule...>', 'what the new one allows, each within a rule of the first (default: all of it)')
      .option('--ttl <duration>', 'how long it lives, not beyond the first (default 15m, or as long as the first)')
      .option('--client <label>', 'label of the client that will use it (default: the caller)')
      .option('--dpop-jkt <thumbprint>', 'SHA-256 thumbprint of the key that must prove each use (RFC 9449, RFC 7638)')
      .action((_options: unknown, command: Command) => exchange(context, command.optsWithGlobals<Options>())),
    "daypass exchange --token-stdin --allow 'GET /repos/acme/site/issues' --client summarizer < token.txt",
    'NARROW=$(DAYPASS_TOKEN="$TOKEN" daypass exchange --ttl 2m)',
  );

const exchange = async ({ io }: Context, options: Options): Promise<void> => {
  const ttl = options.ttl === undefined ? {} : { ttl: durationFromMs(durationFlag(options.ttl, '--ttl')) };
  const allow = canonicalRules(options.allow ?? [], '--allow');
  const subjectToken = await readToken(options, io);
  const connection = await openConnection(options, io);
  const { client = '', dpopJkt = '' } = options;
  const response = await connection.tokens.exchange({ subjectToken, allow: [...allow], client, dpopJkt, ...ttl });
  if (options.json === true) {
    io.out(jsonLine(ExchangeResponseSchema, response));
    return;
  }
  io.out(`${response.token}\n`);
  if (response.expireTime !== undefined && io.stdin.isTTY === true)
    io.err(`${response.jti} is good until ${timestampDate(response.expireTime).toISOString()}\n`);
};

/** Never out of an argument: those can be read by every process of the machine. */
const readToken = async ({ tokenStdin }: Options, io: Io): Promise<string> => {
  if (tokenStdin === true) return tokenArgument('-', io);
  const token = (io.env.DAYPASS_TOKEN ?? '').trim();
  if (token !== '') return token;
  throw new UsageError('give the token on stdin with --token-stdin, or in DAYPASS_TOKEN', '--token-stdin');
};
