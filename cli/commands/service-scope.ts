// `daypass service scope`: sets and removes the named scopes of a service, one at a time.
import { printRule } from '@daypass/core/rule-print';
import { ServiceRegistrySetScopeResponseSchema } from '@daypass/sdk/gen/daypass/v1/service_pb';
import { Command } from 'commander';
import { openConnection } from '../connection.ts';
import { type Context, examples, type With } from '../context.ts';
import { UsageError } from '../failure.ts';
import { jsonLine } from '../output.ts';
import { testChange } from '../release-test.ts';
import { addReleasing, type ReleasingOptions, releasedText, releasingFields } from '../releasing.ts';
import { rulesFile } from '../rules-argument.ts';
import { canonicalRules } from '../service-flags.ts';

type Options = With<
  ReleasingOptions & {
    readonly rule?: readonly string[];
    readonly rulesFile?: string;
    readonly etag?: string;
  }
>;

/** The command and its subcommands. */
export const serviceScopeCommand = (context: Context): Command =>
  new Command('scope')
    .description('named scopes of a service: what scope:NAME in a token stands for, from the next snapshot on')
    .addCommand(setCommand(context))
    .addCommand(deleteCommand(context));

const setCommand = (context: Context): Command =>
  examples(
    withNames(
      new Command('set')
        .description('put rules in the place of all that the scope held; a scope that is not there yet is made')
        .option('--rule <rule...>', 'a rule that it holds: METHOD /path, METHOD ~regex or op:ID')
        .option('--rules-file <file>', 'a file with one rule a line'),
    ).action((name: string, scope: string, _options: unknown, self: Command) =>
      set(context, name, scope, self.optsWithGlobals<Options>()),
    ),
    "daypass service scope set github triage --rule 'GET /repos/acme/*/issues' 'POST /repos/acme/*/issues/{n}/labels'",
    'daypass service scope set github triage --rules-file triage.txt',
  );

const deleteCommand = (context: Context): Command =>
  examples(
    withNames(
      new Command('delete').description('remove a named scope; tokens that carry it lose what it allowed'),
    ).action((name: string, scope: string, _options: unknown, self: Command) =>
      change(context, { name, scope, rules: undefined }, self.optsWithGlobals<Options>()),
    ),
    'daypass service scope delete github triage',
  );

const withNames = (command: Command): Command =>
  addReleasing(
    command
      .argument('<name>', 'the service')
      .argument('<scope>', 'the named scope')
      .option('--etag <etag>', 'be refused when the service was changed since'),
  );

const set = async (context: Context, name: string, scope: string, options: Options): Promise<void> => {
  if (options.rule === undefined && options.rulesFile === undefined)
    throw new UsageError('say what it holds with --rule or --rules-file; `service scope delete` removes it', '--rule');
  const fromFile = options.rulesFile === undefined ? [] : await rulesFile(options.rulesFile, '--rules-file');
  const rules = [...canonicalRules(options.rule ?? [], '--rule'), ...fromFile.map(printRule)];
  await change(context, { name, scope, rules }, options);
};

type Change = { readonly name: string; readonly scope: string; readonly rules: readonly string[] | undefined };

const change = async (context: Context, { name, scope, rules }: Change, options: Options): Promise<void> => {
  const releasing = releasingFields(options);
  const { io } = context;
  const connection = await openConnection(options, io);
  const asked = {
    ...{ service: name, scope, etag: options.etag ?? '' },
    ...(rules === undefined ? {} : { rules: { rules: [...rules] } }),
    ...releasing,
  };
  if (options.test === true)
    return testChange(context, connection, { change: { case: 'setScope', value: asked } }, options.json === true);
  const response = await connection.services.setScope(asked);
  if (options.json === true) {
    io.out(jsonLine(ServiceRegistrySetScopeResponseSchema, response));
    return;
  }
  const held = rules === undefined ? undefined : response.service?.scopes[scope]?.rules.length;
  const done =
    held === undefined
      ? `Removed scope:${scope} of ${name}.`
      : `scope:${scope} of ${name} holds ${held} ${held === 1 ? 'rule' : 'rules'}.`;
  io.out(releasedText(done, releasing, response.rollout));
};
