// The command-line program: all commands, and how an error becomes one message and an exit code.
import { Command, CommanderError } from 'commander';
import { auditCommand } from './commands/audit.ts';
import { callerCommand } from './commands/caller.ts';
import { credentialsCommand } from './commands/credentials.ts';
import { exchangeCommand } from './commands/exchange.ts';
import { importCommand } from './commands/import.ts';
import { initCommand } from './commands/init.ts';
import { inspectCommand } from './commands/inspect.ts';
import { introspectCommand } from './commands/introspect.ts';
import { keysCommand } from './commands/keys.ts';
import { mintCommand } from './commands/mint.ts';
import { nodeCommand } from './commands/node.ts';
import { nodesCommand } from './commands/nodes.ts';
import { controlPlaneCommand, dataPlaneCommand } from './commands/plane.ts';
import { revokeCommand } from './commands/revoke.ts';
import { scopeCommand } from './commands/scope.ts';
import { serviceCommand } from './commands/service.ts';
import { snapshotCommand } from './commands/snapshot.ts';
import { upCommand } from './commands/up.ts';
import { versionCommand } from './commands/version.ts';
import { type Context, examples } from './context.ts';
import { failureOf, withoutValues } from './failure.ts';
import type { Outside } from './io.ts';
import { withNotes } from './notes.ts';
import { failureText } from './output.ts';
import { addGlobalOptions } from './settings.ts';

/** Runs the command that `args` (without node and script) ask for; gives the exit code and never throws. */
export const run = async (args: readonly string[], outside: Outside): Promise<number> => {
  // Known before parsing, so that even a wrong flag is answered in the form that was asked for.
  const asJson = args.includes('--json');
  let exitCode = 0;
  const exit = (code: number) => {
    exitCode = code;
  };
  const notes = withNotes(outside, asJson);
  const { io } = notes;
  const program = buildProgram({ io, exit }, asJson);
  try {
    await program.parseAsync(args, { from: 'user' });
    if (exitCode === 0) notes.end();
    return exitCode;
  } catch (thrown) {
    if (thrown instanceof CommanderError && thrown.exitCode === 0) return 0;
    if (io.env.DAYPASS_DEBUG === '1' && thrown instanceof Error) io.err(`${thrown.stack}\n`);
    const failure = { ...failureOf(thrown), notes: notes.kept() };
    // commander has already shown a person what is wrong with the arguments, with a hint.
    if (asJson || !(thrown instanceof CommanderError)) io.err(failureText(failure, asJson));
    return failure.exitCode;
  }
};

/** The whole program, not yet parsed. */
export const buildProgram = (context: Context, asJson = false): Command => {
  const program = addGlobalOptions(new Command('daypass')).description(
    'A day pass to an HTTP API instead of the key to it.',
  );
  const commands = [initCommand, upCommand, controlPlaneCommand, dataPlaneCommand, serviceCommand, callerCommand];
  const others = [
    mintCommand,
    exchangeCommand,
    inspectCommand,
    introspectCommand,
    revokeCommand,
    nodesCommand,
    nodeCommand,
    auditCommand,
    snapshotCommand,
    keysCommand,
    credentialsCommand,
    scopeCommand,
    importCommand,
  ];
  for (const make of [...commands, ...others, versionCommand]) program.addCommand(make(context));
  examples(
    program,
    'daypass up',
    'daypass service create github --upstream https://api.github.com --credential bearer --secret-env GITHUB_TOKEN',
    "daypass mint --service github --allow 'GET /repos/acme/*/issues' --ttl 15m",
    'daypass audit list --service github --since 1h',
  );
  configure(program, context.io, asJson);
  return program;
};

/** Sends every command's text to the given streams, and its errors to `run` instead of `process.exit`. */
const configure = (command: Command, io: Outside, asJson: boolean): void => {
  command
    .exitOverride()
    .configureHelp({ showGlobalOptions: true })
    .showHelpAfterError(`(daypass ${pathOf(command)}--help shows how)`)
    .configureOutput({
      writeOut: io.out,
      writeErr: asJson ? () => {} : io.err,
      outputError: (text, write) => write(withoutValues(text).replace(/^error: /, 'daypass: ')),
    });
  for (const child of command.commands) configure(child, io, asJson);
};

const pathOf = (command: Command): string =>
  command.parent === null ? '' : `${pathOf(command.parent)}${command.name()} `;
