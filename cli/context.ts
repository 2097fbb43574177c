// What a command's action is given besides its own options, and how actions are attached to commands.
import type { Command } from 'commander';
import type { Io } from './io.ts';
import type { GlobalOptions } from './settings.ts';

/** The outside, and the exit code that a command may set instead of 0. */
export type Context = { readonly io: Io; readonly exit: (code: number) => void };

/** A command's own options and those that every command takes. */
export type With<Options> = Options & GlobalOptions;

/** Adds examples to a command's help. */
export const examples = (command: Command, ...lines: readonly string[]): Command =>
  command.addHelpText('after', `\nExamples:\n${lines.map((line) => `  $ ${line}\n`).join('')}`);

/** Collects a repeatable option. */
export const collect = (value: string, before: readonly string[] = []): readonly string[] => [...before, value];
