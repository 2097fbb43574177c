// `daypass import`: services out of the configuration files of magic-api-proxy and lockbox.
import { readdir, readFile } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { DaypassError } from '@daypass/core/errors';
import type { JsonValue } from '@daypass/core/json';
import { Command } from 'commander';
import { openConnection } from '../connection.ts';
import { type Context, examples, type With } from '../context.ts';
import { UsageError } from '../failure.ts';
import { applyPlan, serviceMessage } from '../import/apply.ts';
import { isObject } from '../import/json-shape.ts';
import { parseLenientJson } from '../import/lenient-json.ts';
import { planLockbox } from '../import/lockbox.ts';
import { planMagic } from '../import/magic.ts';
import type { Plan } from '../import/plan.ts';
import { reportJson, reportText } from '../import/report.ts';

type Options = With<{ readonly name?: string; readonly dryRun?: boolean; readonly insecureUpstream?: boolean }>;

const MAX_BYTES = 4 * 1024 * 1024;

/** The command and its subcommands. */
export const importCommand = (context: Context): Command => {
  const command = new Command('import').description(
    'services out of the configuration of another proxy; never wider than there',
  );
  return command.addCommand(magicCommand(context)).addCommand(lockboxCommand(context));
};

const magicCommand = (context: Context): Command =>
  examples(
    importer('magic', 'one service with its named scopes, from the config.json of magic-api-proxy')
      .option('--name <name>', "the service's name (default: made of the API's host)")
      .action((file: string, _options: unknown, self: Command) => importMagic(context, file, self.optsWithGlobals())),
    'daypass import magic config.json --name github --dry-run',
    'daypass import magic config.json --name github',
  );

const lockboxCommand = (context: Context): Command =>
  examples(
    importer('lockbox', 'all services with their credentials, from the config.json of lockbox').action(
      (file: string, _options: unknown, self: Command) => importLockbox(context, file, self.optsWithGlobals()),
    ),
    'daypass import lockbox config.json --dry-run',
    'daypass import lockbox config.json',
  );

const importer = (name: string, description: string): Command =>
  new Command(name)
    .description(description)
    .argument('<file>', 'the configuration file')
    .option('--dry-run', 'say what would be created, and create nothing')
    .option('--insecure-upstream', 'allow plain http:// upstreams');

const importMagic = async (context: Context, file: string, options: Options): Promise<void> => {
  const config = await readConfig(file);
  const plugins = await pluginNames(config, file);
  const { name, insecureUpstream = false } = options;
  await carryOut(context, file, planMagic(config, { name, insecureUpstream }, plugins), options);
};

const importLockbox = async (context: Context, file: string, options: Options): Promise<void> => {
  const { insecureUpstream = false } = options;
  await carryOut(context, file, planLockbox(await readConfig(file), { insecureUpstream }), options);
};

const carryOut = async ({ io }: Context, file: string, plan: Plan, options: Options): Promise<void> => {
  refuseProblems(file, plan);
  const dryRun = options.dryRun === true;
  const services = dryRun
    ? plan.services.map(serviceMessage)
    : await applyPlan(await openConnection(options, io), plan.services);
  const report = { services, notes: plan.notes, dryRun };
  io.out(options.json === true ? reportJson(report) : reportText(report));
};

const refuseProblems = (file: string, { problems }: Plan): void => {
  if (problems.length === 0) return;
  const lines = problems.map(({ path, text }) => `${file}: ${path}: ${text}`);
  throw new UsageError(`nothing was imported:\n${lines.join('\n')}`, problems[0]?.path);
};

const readConfig = async (file: string): Promise<JsonValue> => {
  const bytes = await readFile(file).catch((cause: NodeJS.ErrnoException) => {
    throw new UsageError(`${file} cannot be read: ${cause.code ?? 'unknown reason'}`, file);
  });
  if (bytes.length > MAX_BYTES) throw new UsageError(`${file} is larger than ${MAX_BYTES} bytes`, file);
  try {
    return parseLenientJson(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    const why = cause instanceof DaypassError ? cause.message : 'not UTF-8';
    throw new UsageError(`${file} is not JSON: ${why}`, file, 'invalid_json');
  }
};

/** The scopes that plugins define: the Python files in the folder that the configuration names, where it is here too. */
const pluginNames = async (config: JsonValue, file: string): Promise<readonly string[]> => {
  const location = isObject(config) ? config.plugins_location : undefined;
  if (typeof location !== 'string') return [];
  const names = await readdir(resolve(dirname(file), location)).catch((): string[] => []);
  return names
    .filter((name) => name.endsWith('.py'))
    .map((name) => basename(name, '.py'))
    .sort();
};
