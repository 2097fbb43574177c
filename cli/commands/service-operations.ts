// `daypass service operations`: what rules of a service may name by `op:ID`.
import { OperationSchema } from '@daypass/sdk/gen/daypass/v1/service_pb';
import { Command } from 'commander';
import { openConnection } from '../connection.ts';
import { type Context, examples, type With } from '../context.ts';
import { jsonLine, table } from '../output.ts';
import { collectItems, eachItem } from '../paging.ts';

type Options = With<{ readonly grep?: string }>;

/** The command. */
export const serviceOperationsCommand = (context: Context): Command =>
  examples(
    new Command('operations')
      .description("list the operations of a service's OpenAPI document, and the rules that op:ID stands for")
      .argument('<name>', 'the service')
      .option('--grep <text>', 'only those whose id, rule or summary holds this text, in any case')
      .action((name: string, _options: unknown, command: Command) =>
        listOperations(context, name, command.optsWithGlobals()),
      ),
    'daypass service operations github --grep labels',
    "daypass service operations github --json | jq -r '.id'",
  );

const listOperations = async ({ io }: Context, service: string, options: Options): Promise<void> => {
  const connection = await openConnection(options, io);
  const contains = options.grep ?? '';
  const operations = eachItem(async (page) => {
    const { operations: items, nextPageToken } = await connection.services.listOperations({
      service,
      contains,
      ...page,
    });
    return { items, nextPageToken };
  });
  if (options.json === true) {
    for await (const operation of operations) io.out(jsonLine(OperationSchema, operation));
    return;
  }
  const rows = (await collectItems(operations)).map(({ id, rule, summary }) => [id, rule, summary]);
  io.out(table(['ID', 'RULE', 'SUMMARY'], rows));
  if (rows.length === 0 && contains === '')
    io.note(`${service} has no operations; \`daypass service update ${service} --openapi FILE\` gives it some`);
};
