// `daypass service delete`.
import { ServiceRegistryDeleteResponseSchema } from '@daypass/sdk/gen/daypass/v1/service_pb';
import { Command } from 'commander';
import { openConnection } from '../connection.ts';
import { type Context, examples, type With } from '../context.ts';
import { jsonLine } from '../output.ts';
import { addWait, rolloutText, waitField } from '../rollout.ts';

type Options = With<{ readonly etag?: string; readonly wait?: string }>;

/** The command. */
export const serviceDeleteCommand = (context: Context): Command =>
  examples(
    addWait(
      new Command('delete')
        .description('remove a service; its tokens are refused from then on')
        .argument('<name>', 'the service')
        .option('--etag <etag>', 'be refused when the service was changed since'),
    ).action((name: string, _options: unknown, command: Command) =>
      deleteService(context, name, command.optsWithGlobals<Options>()),
    ),
    'daypass service delete github',
  );

const deleteService = async ({ io }: Context, name: string, options: Options): Promise<void> => {
  const wait = waitField(options.wait);
  const connection = await openConnection(options, io);
  const response = await connection.services.delete({ name, etag: options.etag ?? '', ...wait });
  if (options.json === true) io.out(jsonLine(ServiceRegistryDeleteResponseSchema, response));
  else io.out(`Removed ${name}.\n${rolloutText(response.rollout)}`);
};
