// `daypass snapshot`: what the data planes are given.
import { Command } from 'commander';
import type { Context } from '../context.ts';
import { snapshotPromoteCommand, snapshotStatusCommand, snapshotTakeBackCommand } from './snapshot-canary.ts';
import { snapshotDiffCommand, snapshotShowCommand, snapshotVerifyCommand } from './snapshot-files.ts';
import { snapshotHistoryCommand, snapshotPullCommand } from './snapshot-history.ts';
import { snapshotTestCommand } from './snapshot-test.ts';

/** The command and its subcommands. */
export const snapshotCommand = (context: Context): Command => {
  const command = new Command('snapshot').description('what the data planes are given: its history, and what it holds');
  const children = [
    snapshotHistoryCommand,
    snapshotShowCommand,
    snapshotDiffCommand,
    snapshotVerifyCommand,
    snapshotPullCommand,
    snapshotTestCommand,
    snapshotStatusCommand,
    snapshotPromoteCommand,
    snapshotTakeBackCommand,
  ];
  for (const make of children) command.addCommand(make(context));
  return command;
};
