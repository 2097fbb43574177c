// `daypass service delete`.
import { ServiceRegistryDeleteResponseSchema } from '@daypass/sdk/gen/daypass/v1/service_pb';
import { Command } from 'commander';
import { openConnection } from '../connection.ts';
import { type Context, examples, type With } from '../context.ts';
import { jsonLine } from '../output.ts';
import { testChange } from '../release-test.ts';
import { addReleasing, type ReleasingOptions, releasedText, releasingFields } from '../releasing.ts';

type Options = With<ReleasingOptions & { readonly etag?: string }>;

/** The command. */
export const serviceDeleteCommand = (context: Context): Command =>
  examples(
    addReleasing(
      new Command('delete')
        .description('remove a service; its tokens are refused from then on')
        .argument('<name>', 'the service')
        .option('--etag <etag>', 'be refused when the service was changed since'),
    ).action((name: string, _options: unknown, command: Command) =>
      deleteService(context, name, command.optsWithGlobals<Options>()),
    ),
    'daypass service delete github',
  );

const deleteService = async (context: Context, name: string, options: Options): Promise<void> => {
  const releasing = releasingFields(options);
  const { io } = context;
  const connection = await openConnection(options, io);
  const removal = { name, etag: options.etag ?? '', ...releasing };
  if (options.test === true)
    return testChange(context, connection, { change: { case: 'delete', value: removal } }, options.json === true);
  const response = await connection.services.delete(removal);
  if (options.json === true) io.out(jsonLine(ServiceRegistryDeleteResponseSchema, response));
  else io.out(releasedText(`Removed ${name}.`, releasing, response.rollout));
};
