// `daypass keys`: the keys of the fleet, and new ones in place of old ones.
import { Command } from 'commander';
import type { Context } from '../context.ts';
import { keysListCommand } from './keys-list.ts';
import { keysRetireCommand } from './keys-retire.ts';
import { keysRotateCommand } from './keys-rotate.ts';

/** The command and its subcommands. */
export const keysCommand = (context: Context): Command => {
  const command = new Command('keys').description(
    'the keys that sign tokens and snapshots, and that credentials are sealed to',
  );
  for (const make of [keysListCommand, keysRotateCommand, keysRetireCommand]) command.addCommand(make(context));
  return command;
};
