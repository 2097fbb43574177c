// `daypass service create`: registers a service and seals its credential on this machine.
import { ServiceRegistryCreateResponseSchema } from '@daypass/sdk/gen/daypass/v1/service_pb';
import { Command } from 'commander';
import { openConnection } from '../connection.ts';
import { type Context, examples, type With } from '../context.ts';
import { UsageError } from '../failure.ts';
import { noteOpenApi, readOpenApi } from '../openapi-file.ts';
import { jsonLine } from '../output.ts';
import { parsePlace } from '../place.ts';
import { testChange } from '../release-test.ts';
import { addReleasing, type ReleasingOptions, releasedText, releasingFields } from '../releasing.ts';
import { readSecret } from '../secret-input.ts';
import { addServiceFlags, type ServiceOptions, serviceFields } from '../service-flags.ts';
import { noteSeal, refuseSealFlags, sealForService } from '../service-seal.ts';

type Options = With<ServiceOptions & ReleasingOptions & { readonly upstream: string; readonly pool?: string }>;

/** The command. */
export const serviceCreateCommand = (context: Context): Command => {
  const command = new Command('create')
    .description('register a service; its credential is sealed before it leaves this machine')
    .argument('<name>', 'lower-case letters, digits and inner hyphens')
    .requiredOption('--upstream <url>', 'the API: https://host[:port][/base/path]')
    .option('--pool <name>', 'the pool of data planes that serves it (default: default)');
  addReleasing(addServiceFlags(command)).action((name: string, _options: unknown, self: Command) =>
    createService(context, name, self.optsWithGlobals<Options>()),
  );
  return examples(
    command,
    'daypass service create github --upstream https://api.github.com --credential bearer --secret-env GITHUB_TOKEN',
    "daypass service create stripe --upstream https://api.stripe.com --credential bearer --secret-stdin --ceiling 'GET /v1/**' < key.txt",
    'daypass service create maps --upstream https://maps.example.com --credential query:key --secret-stdin --caller ci',
    'daypass service create github --upstream https://api.github.com --openapi api.github.com.json',
    "daypass service create open --upstream https://api.example.com --scope read='GET /**' --limit-per-token 100/1m",
  );
};

const NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

const createService = async (context: Context, name: string, options: Options): Promise<void> => {
  const { io } = context;
  if (!NAME.test(name))
    throw new UsageError(`"${name}" is not a name: 1 to 63 lower-case letters, digits and inner hyphens`, 'name');
  const { fields } = serviceFields(options);
  const document = options.openapi === undefined ? undefined : await readOpenApi(options.openapi);
  if (document !== undefined) noteOpenApi(io, options.openapi ?? '', document, options.upstream);
  const secret = await readSecret(options, io);
  const place = options.credential === undefined ? undefined : parsePlace(options.credential, options.template);
  if (secret === undefined) refuseSealFlags(options);
  else if (options.anonymous === true)
    throw new UsageError('an anonymous service cannot have a credential', '--anonymous');
  else if (place === undefined) throw new UsageError('say where the credential goes with --credential', '--credential');
  const releasing = releasingFields(options);
  const connection = await openConnection(options, io);
  const pool = options.pool ?? 'default';
  const target = { name, pool, upstream: options.upstream };
  const sealed =
    secret === undefined || place === undefined
      ? undefined
      : await sealForService(connection, { ...target, place }, secret, options);
  const seal = sealed === undefined ? {} : { sealedCredential: sealed.sealed, credentialId: sealed.id };
  const creation = {
    service: { ...fields, name, pool, ...seal, operations: [...(document?.operations ?? [])] },
    ...releasing,
  };
  if (options.test === true)
    return testChange(context, connection, { change: { case: 'create', value: creation } }, options.json === true);
  const response = await connection.services.create(creation);
  if (sealed !== undefined) noteSeal(io, name, options);
  if (options.json === true) {
    io.out(jsonLine(ServiceRegistryCreateResponseSchema, response));
    return;
  }
  const done = [
    `Registered ${name} for ${options.upstream}; reach it at ${connection.dataUrl}/s/${name}/`,
    ...(document === undefined ? [] : [`Rules may name ${document.operations.length} operations by op:ID`]),
  ].join('\n');
  if (place !== undefined && sealed === undefined)
    io.note('it has no credential of its own; tokens must bring one (daypass mint --seal-stdin)');
  io.out(releasedText(done, releasing, response.rollout));
};
