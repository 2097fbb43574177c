// `daypass caller update`: changes what the flags name of a caller, and leaves the rest.
import { DaypassError } from '@daypass/core/errors';
import { type Caller, CallerServiceUpdateResponseSchema } from '@daypass/sdk/gen/daypass/v1/caller_pb';
import { Command } from 'commander';
import {
  addCallerFlags,
  type CallerFields,
  type CallerOptions,
  callerFields,
  unboundedServices,
} from '../caller-flags.ts';
import { type Connection, openConnection } from '../connection.ts';
import { type Context, examples, type With } from '../context.ts';
import { UsageError } from '../failure.ts';
import { jsonLine } from '../output.ts';
import { eachItem } from '../paging.ts';

type Options = With<CallerOptions & { readonly clear?: readonly string[]; readonly etag?: string }>;

/** What `--clear` can put back to its default. */
const CLEARABLE: Readonly<Record<string, string>> = {
  service: 'services',
  allow: 'ceilings',
  'max-ttl': 'max_ttl',
  client: 'clients',
  subject: 'subjects',
};

/** The command. */
export const callerUpdateCommand = (context: Context): Command =>
  examples(
    addCallerFlags(
      new Command('update')
        .description(
          'change a caller; its key and the tokens that are out stay as they are (`revoke --caller` ends them)',
        )
        .argument('<name>', 'the caller')
        .option('--no-admin', 'is an admin no more')
        .option('--no-edits-scopes', 'may change no named scopes')
        .option('--clear <field...>', `back to the default: ${Object.keys(CLEARABLE).join(', ')}`)
        .option('--etag <etag>', 'be refused when the caller was changed since'),
    ).action((name: string, _options: unknown, self: Command) =>
      updateCaller(context, name, self.optsWithGlobals<Options>()),
    ),
    "daypass caller update bot --allow 'github=GET /repos/acme/{repo}/issues' --max-ttl 15m",
    'daypass caller update bot --clear max-ttl client',
  );

const updateCaller = async ({ io }: Context, name: string, options: Options): Promise<void> => {
  const given = callerFields(options);
  const cleared = (options.clear ?? []).map(clearedPath);
  const paths = [...new Set([...given.mask, ...cleared])];
  // But for --allow: all ceilings are cleared, and these set.
  const both = (options.clear ?? []).find((field) => field !== 'allow' && given.mask.includes(clearedPath(field)));
  if (both !== undefined) throw new UsageError(`--clear ${both} and --${both} contradict each other`, '--clear');
  if (paths.length === 0) throw new UsageError('nothing to change: give at least one flag', undefined);
  const connection = await openConnection(options, io);
  const touchesCeilings = paths.includes('services') || paths.includes('ceilings');
  const current = touchesCeilings ? await findCaller(connection, name) : undefined;
  const ceilings = current === undefined ? undefined : nextCeilings(current, given, cleared);
  const response = await connection.callers.update({
    caller: {
      ...given.fields,
      name,
      ...(ceilings === undefined ? {} : { ceilings }),
      etag: options.etag ?? current?.etag ?? '',
    },
    updateMask: { paths: ceilings === undefined ? paths : [...new Set([...paths, 'ceilings'])] },
  });
  const { caller } = response;
  const unbounded = caller === undefined || !touchesCeilings ? [] : unboundedServices(caller);
  if (unbounded.length > 0) io.note(`it may mint any rule for ${unbounded.join(', ')} (--allow bounds it)`);
  if (options.json === true) io.out(jsonLine(CallerServiceUpdateResponseSchema, response));
  else io.out(`Changed ${name}: ${paths.join(', ')}. Tokens that are out stay as they are.\n`);
};

const findCaller = async ({ callers }: Connection, name: string): Promise<Caller> => {
  const all = eachItem(async (request) => {
    const { callers: items, nextPageToken } = await callers.list(request);
    return { items, nextPageToken };
  });
  for await (const caller of all) if (caller.name === name) return caller;
  throw new DaypassError('not_found', `there is no caller "${name}"`, { field: 'name' });
};

/** The API takes all ceilings at once. Those of other services stay: without one, a caller may mint any rule. */
const nextCeilings = (current: Caller, { fields }: CallerFields, cleared: readonly string[]) => {
  const services = cleared.includes('services') ? [] : (fields.services ?? current.services);
  const kept = cleared.includes('ceilings') ? {} : current.ceilings;
  const known = Object.entries({ ...kept, ...fields.ceilings });
  const isNamed = (service: string): boolean => Object.hasOwn(fields.ceilings ?? {}, service);
  return Object.fromEntries(
    known
      .filter(([service]) => services.includes(service) || isNamed(service))
      .map(([service, { rules }]) => [service, { rules: [...rules] }]),
  );
};

const clearedPath = (field: string): string => {
  const path = Object.hasOwn(CLEARABLE, field) ? CLEARABLE[field] : undefined;
  if (path !== undefined) return path;
  throw new UsageError(`--clear takes ${Object.keys(CLEARABLE).join(', ')}; not "${field}"`, '--clear');
};
