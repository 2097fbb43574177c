// `daypass service list` and `daypass service get`.
import { durationMs, timestampDate } from '@bufbuild/protobuf/wkt';
import { DaypassError } from '@daypass/core/errors';
import { type Rate, type Service, ServiceSchema } from '@daypass/sdk/gen/daypass/v1/service_pb';
import { Command } from 'commander';
import { openConnection } from '../connection.ts';
import { type Context, examples, type With } from '../context.ts';
import { durationText } from '../duration.ts';
import { facts, jsonLine, table } from '../output.ts';
import { collectItems, eachItem } from '../paging.ts';
import { placeFromMessage, placeText } from '../place.ts';

/** `service list`. */
export const serviceListCommand = (context: Context): Command =>
  examples(
    new Command('list')
      .description('list the services')
      .action((_options: unknown, command: Command) => listServices(context, command.optsWithGlobals())),
    'daypass service list',
    'daypass service list --json',
  );

/** `service get`. */
export const serviceGetCommand = (context: Context): Command =>
  examples(
    new Command('get')
      .description('show a service')
      .argument('<name>', 'the service')
      .action((name: string, _options: unknown, command: Command) =>
        getService(context, name, command.optsWithGlobals()),
      ),
    'daypass service get github',
  );

const listServices = async ({ io }: Context, options: With<object>): Promise<void> => {
  const connection = await openConnection(options, io);
  const services = eachItem(async (request) => {
    const { services: items, nextPageToken } = await connection.services.list(request);
    return { items, nextPageToken };
  });
  if (options.json === true) {
    for await (const service of services) io.out(jsonLine(ServiceSchema, service));
    return;
  }
  const rows = (await collectItems(services)).map((service) => [
    service.name,
    service.upstream,
    placeText(placeFromMessage(service.place)),
    service.credentialId === '' ? 'no' : 'yes',
    clientsText(service),
    [service.isDefault ? 'default' : '', service.anonymous ? 'anonymous' : ''].filter((text) => text !== '').join(' '),
  ]);
  io.out(table(['NAME', 'UPSTREAM', 'CREDENTIAL', 'SEALED', 'CLIENTS', ''], rows));
};

const getService = async ({ io }: Context, name: string, options: With<object>): Promise<void> => {
  const connection = await openConnection(options, io);
  const { service } = await connection.services.get({ name });
  if (service === undefined) throw new DaypassError('internal', 'the control plane answered without the service');
  io.out(options.json === true ? jsonLine(ServiceSchema, service) : serviceText(service));
};

const serviceText = (service: Service): string =>
  facts([
    ['name', service.name],
    ['upstream', service.upstream],
    ['pool', service.pool],
    ['credential', placeText(placeFromMessage(service.place))],
    ['credential id', service.credentialId],
    ['tokens in', ['bearer', ...service.tokenIn.filter((place) => place !== 'bearer')].join(', ')],
    ['default', yes(service.isDefault)],
    ['anonymous', yes(service.anonymous)],
    ['insecure upstream', yes(service.insecureUpstream)],
    ['encoded slashes', yes(service.encodedSlashes)],
    ['max ttl', service.maxTtl === undefined ? '' : durationText(durationMs(service.maxTtl))],
    ['connect timeout', service.connectTimeout === undefined ? '' : durationText(durationMs(service.connectTimeout))],
    [
      'response timeout',
      service.responseTimeout === undefined ? '' : durationText(durationMs(service.responseTimeout)),
    ],
    ['clients', clientsText(service)],
    ...Object.entries(service.scopes).map(([name, { rules }]) => [`scope ${name}`, rules.join('; ')] as const),
    ['drop headers', service.cleaning?.dropHeaders.join(', ') ?? ''],
    ['set headers', Object.keys(service.cleaning?.setHeaders ?? {}).join(', ')],
    ['drop query', service.cleaning?.dropQuery.join(', ') ?? ''],
    ['limit per token', rateText(service.limits?.perToken)],
    ['limit per client', rateText(service.limits?.perClient)],
    ['limit per service', rateText(service.limits?.perService)],
    ['description', service.description],
    ['etag', service.etag],
    ['changed', service.updateTime === undefined ? '' : timestampDate(service.updateTime).toISOString()],
  ]);

const clientsText = ({ clients }: Service): string => {
  if (clients === undefined) return 'all';
  return clients.labels.length === 0 ? 'none' : clients.labels.join(', ');
};

const rateText = (rate: Rate | undefined): string =>
  rate?.per === undefined ? '' : `${rate.requests}/${durationText(durationMs(rate.per))}`;

const yes = (value: boolean): string => (value ? 'yes' : '');
