// `daypass version`.
import { readFile } from 'node:fs/promises';
import { parseStrictJson, readObject, readString } from '@daypass/core/json';
import { Command } from 'commander';
import { type Context, examples, type With } from '../context.ts';

/** The command. */
export const versionCommand = ({ io }: Context): Command =>
  examples(
    new Command('version').description('print the version').action(async (_options: unknown, command: Command) => {
      const version = await readVersion();
      const node = process.version;
      const asJson = command.optsWithGlobals<With<object>>().json === true;
      io.out(asJson ? `${JSON.stringify({ version, node })}\n` : `daypass ${version} (Node ${node})\n`);
    }),
    'daypass version',
  );

/** The version of this package. */
export const readVersion = async (): Promise<string> => {
  const text = await readFile(new URL('../package.json', import.meta.url), 'utf8');
  return readString(readObject(parseStrictJson(text), 'package.json').version, 'version');
};
