// `daypass introspect`: asks the control plane whether a token is good now.
import { timestampDate } from '@bufbuild/protobuf/wkt';
import { type IntrospectResponse, IntrospectResponseSchema } from '@daypass/sdk/gen/daypass/v1/token_pb';
import { Command } from 'commander';
import { openConnection } from '../connection.ts';
import { type Context, examples, type With } from '../context.ts';
import { facts, jsonLine } from '../output.ts';
import { tokenArgument } from '../token-argument.ts';

/** The command. */
export const introspectCommand = (context: Context): Command =>
  examples(
    new Command('introspect')
      .description('ask the control plane whether a token is good now (RFC 7662)')
      .argument('<token>', 'the token, or - to read it from stdin')
      .action((token: string, _options: unknown, command: Command) =>
        introspect(context, token, command.optsWithGlobals()),
      ),
    'daypass introspect "$TOKEN"',
    'daypass introspect - --json < token.txt',
  );

const introspect = async ({ io }: Context, argument: string, options: With<object>): Promise<void> => {
  const token = await tokenArgument(argument, io);
  const connection = await openConnection(options, io);
  const response = await connection.tokens.introspect({ token });
  io.out(options.json === true ? jsonLine(IntrospectResponseSchema, response) : text(response));
};

const text = ({ active, reason, token }: IntrospectResponse): string =>
  facts([
    ['active', active ? 'yes' : 'no'],
    ['reason', reason],
    ['id', token?.jti ?? ''],
    ['service', token?.service ?? ''],
    ['client', token?.client ?? ''],
    ['speaks for', token?.subject ?? ''],
    ['minted by', token?.caller ?? ''],
    ...(token?.allow ?? []).map((rule) => ['allows', rule] as const),
    ['ends', token?.expireTime === undefined ? '' : timestampDate(token.expireTime).toISOString()],
    ['credential id', token?.credentialId ?? ''],
    ['bound to key', token?.dpopJkt ?? ''],
    ['acted for by', token?.actors.join(', before that ') ?? ''],
    ['exchanged from', token?.parents.join(', from ') ?? ''],
  ]);
