// The flags that say where the three parts of a home lie, for commands that work on its files.
import type { Command } from 'commander';
import type { HomeFolders } from './home.ts';
import type { Io } from './io.ts';
import { type GlobalOptions, homeOf } from './settings.ts';

/** Their values. */
export type FolderOptions = {
  readonly rootDir?: string;
  readonly controlDir?: string;
  readonly dataDir?: string;
};

/** Adds the flags. */
export const addFolders = (command: Command): Command =>
  command
    .option('--root-dir <folder>', 'where the fleet root is (default: root/ of the home)')
    .option('--control-dir <folder>', "where the control plane's files are (default: control/ of the home)")
    .option('--data-dir <folder>', "where the data plane's files are (default: data/ of the home)");

/** The folders. */
export const foldersOf = (options: GlobalOptions & FolderOptions, { env }: Pick<Io, 'env'>): HomeFolders => ({
  home: homeOf(options, env),
  rootDir: options.rootDir,
  controlDir: options.controlDir,
  dataDir: options.dataDir,
});
