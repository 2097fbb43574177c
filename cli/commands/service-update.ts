// `daypass service update`: changes the fields that are given, and seals again where a new credential is.
import { DaypassError } from '@daypass/core/errors';
import { type Service, ServiceRegistryUpdateResponseSchema } from '@daypass/sdk/gen/daypass/v1/service_pb';
import { Command } from 'commander';
import { openConnection } from '../connection.ts';
import { type Context, examples, type With } from '../context.ts';
import { UsageError } from '../failure.ts';
import { noteOpenApi, readOpenApi } from '../openapi-file.ts';
import { jsonLine } from '../output.ts';
import { parsePlace, placeFromMessage } from '../place.ts';
import { testChange } from '../release-test.ts';
import { addReleasing, type ReleasingOptions, releasedText, releasingFields } from '../releasing.ts';
import { readSecret } from '../secret-input.ts';
import { addServiceFlags, type ServiceFields, type ServiceOptions, serviceFields } from '../service-flags.ts';
import { noteSeal, noteTarget, refuseSealFlags, sealForService } from '../service-seal.ts';

type Options = With<ServiceOptions & ReleasingOptions & { readonly clear?: readonly string[]; readonly etag?: string }>;

/** What `--clear` can put back to its default. */
const CLEARABLE: Readonly<Record<string, readonly string[]>> = {
  credential: ['place', 'sealed_credential', 'credential_id'],
  'token-in': ['token_in'],
  'max-ttl': ['max_ttl'],
  'connect-timeout': ['connect_timeout'],
  'response-timeout': ['response_timeout'],
  clients: ['clients'],
  scopes: ['scopes'],
  'drop-header': ['cleaning.drop_headers'],
  'set-header': ['cleaning.set_headers'],
  'drop-query': ['cleaning.drop_query'],
  'limit-per-token': ['limits.per_token'],
  'limit-per-client': ['limits.per_client'],
  'limit-per-service': ['limits.per_service'],
  description: ['description'],
  openapi: ['operations'],
};

/** The command. */
export const serviceUpdateCommand = (context: Context): Command => {
  const command = new Command('update')
    .description('change a service; a list or map that is given replaces the old one')
    .argument('<name>', 'the service')
    .option('--upstream <url>', 'the API; another one needs the credential again')
    .option('--clear <field...>', `back to the default: ${Object.keys(CLEARABLE).join(', ')}`)
    .option('--etag <etag>', 'be refused when the service was changed since');
  addReleasing(addServiceFlags(command)).action((name: string, _options: unknown, self: Command) =>
    updateService(context, name, self.optsWithGlobals<Options>()),
  );
  return examples(
    command,
    'daypass service update github --secret-stdin < new-token.txt',
    'daypass service update github --client ci release-bot --max-ttl 1h',
    'daypass service update github --max-ttl 1h --test',
    'daypass service update github --max-ttl 1h --canary 1 --promote-after 10m',
    'daypass service update github --openapi api.github.com.json',
    'daypass service update github --no-clients',
    'daypass service update github --clear clients limit-per-token',
  );
};

const updateService = async (context: Context, name: string, options: Options): Promise<void> => {
  const { io } = context;
  const given = serviceFields(options);
  const cleared = (options.clear ?? []).flatMap(clearedPaths);
  const document = options.openapi === undefined ? undefined : await readOpenApi(options.openapi);
  const secret = await readSecret(options, io);
  if (secret === undefined) refuseSealFlags(options);
  if (given.mask.length + cleared.length === 0 && secret === undefined && document === undefined)
    throw new UsageError('nothing to change: give at least one flag', undefined);
  const releasing = releasingFields(options);
  const connection = await openConnection(options, io);
  const { service: current } = await connection.services.get({ name });
  if (current === undefined) throw new DaypassError('internal', 'the control plane answered without the service');
  if (document !== undefined) noteOpenApi(io, options.openapi ?? '', document, options.upstream ?? current.upstream);
  if (secret === undefined) refuseOtherSeal(current, given);
  const target = secret === undefined ? undefined : sealTarget(current, options);
  if (target !== undefined && options.upstream === undefined) noteTarget(io, target);
  const sealed =
    secret === undefined || target === undefined
      ? undefined
      : await sealForService(connection, target, secret, options);
  const seal = sealed === undefined ? {} : { sealedCredential: sealed.sealed, credentialId: sealed.id };
  const paths = [
    ...given.mask,
    ...cleared,
    ...(document === undefined ? [] : ['operations']),
    ...(sealed === undefined ? [] : ['sealed_credential', 'credential_id']),
  ];
  // What is sealed fits the service as it was read: a change in between is refused.
  const etag = options.etag ?? (sealed === undefined && given.fields.upstream === undefined ? '' : current.etag);
  const update = {
    // Fields outside the mask are not taken, but the API checks the form of all: they are sent as they are.
    service: {
      upstream: current.upstream,
      ...given.fields,
      name,
      ...seal,
      etag,
      operations: [...(document?.operations ?? [])],
    },
    updateMask: { paths: [...new Set(paths)] },
    ...releasing,
  };
  if (options.test === true)
    return testChange(context, connection, { change: { case: 'update', value: update } }, options.json === true);
  const response = await connection.services.update(update);
  if (sealed !== undefined) noteSeal(io, name, options);
  if (options.json === true) io.out(jsonLine(ServiceRegistryUpdateResponseSchema, response));
  else io.out(releasedText(`Changed ${name}: ${[...new Set(paths)].join(', ')}.`, releasing, response.rollout));
};

/** A seal is for one upstream and place: without the credential it cannot be made again for another. @throws UsageError */
const refuseOtherSeal = (current: Service, { fields }: ServiceFields): void => {
  if (current.sealedCredential === '' && current.credentialId === '') return;
  const moves = fields.upstream !== undefined && plain(fields.upstream) !== plain(current.upstream);
  if (!moves && fields.place === undefined) return;
  const flag = moves ? '--upstream' : '--credential';
  throw new UsageError(
    `${flag} is part of the seal of "${current.name}", which cannot be changed: give the credential again with --secret-stdin or --secret-env`,
    flag,
  );
};

const sealTarget = (current: Service, options: Options) => {
  const place =
    options.credential === undefined
      ? placeFromMessage(current.place)
      : parsePlace(options.credential, options.template);
  if (place === undefined) throw new UsageError('say where the credential goes with --credential', '--credential');
  return { name: current.name, pool: current.pool, upstream: options.upstream ?? current.upstream, place };
};

const clearedPaths = (field: string): readonly string[] => {
  const paths = Object.hasOwn(CLEARABLE, field) ? CLEARABLE[field] : undefined;
  if (paths !== undefined) return paths;
  throw new UsageError(`--clear takes ${Object.keys(CLEARABLE).join(', ')}; not "${field}"`, '--clear');
};

const plain = (url: string): string => (URL.canParse(url) ? new URL(url).href.replace(/\/$/, '') : url);
