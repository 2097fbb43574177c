// `daypass snapshot test`: a change out of a file, tried on recorded requests before it is made.
import { create, fromJson, type JsonValue } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { DaypassError } from '@daypass/core/errors';
import { parseStrictJson } from '@daypass/core/json';
import { TestRequestSchema } from '@daypass/sdk/gen/daypass/v1/release_pb';
import { Command } from 'commander';
import { openConnection } from '../connection.ts';
import { type Context, examples, type With } from '../context.ts';
import { durationFlag } from '../duration.ts';
import { UsageError } from '../failure.ts';
import { testChange } from '../release-test.ts';
import { readBytes } from '../rules-argument.ts';

type Options = With<{ readonly file: string; readonly since: string; readonly limit: string }>;

const FILE_BYTES_MAX = 4 * 1024 * 1024;
const LIMIT_MAX = 10_000;

/** The command. */
export const snapshotTestCommand = (context: Context): Command =>
  examples(
    new Command('test')
      .description(
        'say which recorded requests a change would decide otherwise; exit code 1 if any. The commands that change a ' +
          'service or a named scope do the same with --test',
      )
      .requiredOption(
        '--file <file>',
        'the change as JSON: one of create, update, delete and setScope, with the message of that RPC of ServiceRegistry',
      )
      .option('--since <duration>', 'requests of so long ago are looked at', '24h')
      .option('--limit <number>', 'the newest so many, at most 10000', String(LIMIT_MAX))
      .action((_options: unknown, self: Command) => test(context, self.optsWithGlobals<Options>())),
    'daypass snapshot test --file change.json --since 7d',
    'daypass service update github --max-ttl 1h --test',
    "daypass service scope set github triage --rule 'GET /repos/acme/*/issues' --test",
  );

const test = async (context: Context, options: Options): Promise<void> => {
  const limit = /^\d{1,5}$/.test(options.limit) ? Number(options.limit) : 0;
  if (limit < 1 || limit > LIMIT_MAX) throw new UsageError(`--limit takes 1 to ${LIMIT_MAX}`, '--limit');
  const window = durationFromMs(durationFlag(options.since, '--since'));
  const { change } = await readChange(options.file);
  const connection = await openConnection(options, context.io);
  const request = create(TestRequestSchema, { change, window, maxRequests: limit });
  await testChange(context, connection, request, options.json === true);
};

const readChange = async (file: string) => {
  const bytes = await readBytes(file, '--file', FILE_BYTES_MAX);
  try {
    const json = parseStrictJson(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
    return fromJson(TestRequestSchema, json as JsonValue);
  } catch (cause) {
    const why = cause instanceof DaypassError || cause instanceof Error ? cause.message : 'it cannot be read';
    throw new UsageError(`--file: ${file} is not a change: ${why}`, '--file');
  }
};
