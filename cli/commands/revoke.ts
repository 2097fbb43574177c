// `daypass revoke`: ends tokens before their time, and prints the receipt.

import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { type RevokeRequestSchema, RevokeResponseSchema } from '@daypass/sdk/gen/daypass/v1/token_pb';
import { Command } from 'commander';
import { openConnection } from '../connection.ts';
import { type Context, examples, type With } from '../context.ts';
import { timeFlag } from '../duration.ts';
import { UsageError } from '../failure.ts';
import { jsonLine } from '../output.ts';
import { addWait, rolloutText, waitField } from '../rollout.ts';
import { tokenArgument } from '../token-argument.ts';

type Options = With<{
  readonly jti?: string;
  readonly token?: string;
  readonly service?: string;
  readonly client?: string;
  readonly subject?: string;
  readonly caller?: string;
  readonly credentialId?: string;
  readonly mintedBefore?: string;
  readonly wait?: string;
}>;

type Target = NonNullable<MessageInitShape<typeof RevokeRequestSchema>['target']>;

/** The command. */
export const revokeCommand = (context: Context): Command => {
  const command = new Command('revoke')
    .description('end one token, or all minted so far that fit every flag; says where it is in force')
    .option('--jti <id>', 'one token by its id')
    .option('--token <token>', 'one token by its text, or - to read it from stdin')
    .option('--service <name>', 'all tokens for this service')
    .option('--client <label>', 'all tokens of this client label')
    .option('--subject <text>', 'all tokens that speak for this subject')
    .option('--caller <name>', 'all tokens that this caller minted, and what was exchanged from them')
    .option('--credential-id <id>', 'all tokens that use this sealed credential')
    .option('--minted-before <time>', 'of those, minted at or before this time: RFC 3339, or 15m ago (default: now)');
  addWait(command).action((_options: unknown, self: Command) => revoke(context, self.optsWithGlobals<Options>()));
  return examples(
    command,
    'daypass revoke --jti 0kJ8mQ',
    'daypass revoke --token - < token.txt',
    'daypass revoke --service github --client triage-bot',
  );
};

const revoke = async ({ io }: Context, options: Options): Promise<void> => {
  const cutOff = cutOffOf(options, io.now());
  const given = [options.jti, options.token, cutOff].filter((one) => one !== undefined);
  if (given.length !== 1)
    throw new UsageError(
      'give one of --jti, --token, or flags that say which tokens (--service, --client, …)',
      '--jti',
    );
  const target: Target =
    options.jti !== undefined
      ? { case: 'jti', value: options.jti }
      : options.token !== undefined
        ? { case: 'token', value: await tokenArgument(options.token, io) }
        : { case: 'cutOff', value: cutOff ?? {} };
  const wait = waitField(options.wait);
  const connection = await openConnection(options, io);
  const response = await connection.tokens.revoke({ target, ...wait });
  if (options.json === true) io.out(jsonLine(RevokeResponseSchema, response));
  else io.out(`Revoked. ${rolloutText(response.rollout)}`);
};

const cutOffOf = (options: Options, nowMs: number) => {
  const { service, client, subject, caller, credentialId, mintedBefore } = options;
  const fields = { service, client, subject, caller, credentialId };
  const given = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined && value !== ''));
  if (Object.keys(given).length === 0 && mintedBefore === undefined) return undefined;
  const time =
    mintedBefore === undefined
      ? {}
      : { mintedBefore: timestampFromMs(timeFlag(mintedBefore, '--minted-before', nowMs)) };
  return { ...given, ...time };
};
