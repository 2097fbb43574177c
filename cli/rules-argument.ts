// Rules as an argument: one rule, or a file of them.
import { access, readFile } from 'node:fs/promises';
import { DaypassError } from '@daypass/core/errors';
import type { Rule } from '@daypass/core/rule';
import { parseRule, parseRules } from '@daypass/core/rule-parse';
import { UsageError } from './failure.ts';

const MAX_BYTES = 16 * 1024 * 1024;
/** What a rule begins with, and no usual file name does. */
const RULE = /^(?:(?:scope|op):|(?:graphql|mcp|[A-Z*][A-Z0-9_,*-]*) +[/~])/;

/**
 * The rules that an argument gives: the rule that it is, or those that stand in the file that it names, one a line;
 * empty lines and lines that begin with `#` are left out. @throws UsageError naming `field`
 */
export const rulesArgument = async (argument: string, field: string): Promise<readonly Rule[]> => {
  // Whoever wrote a rule wrongly wants to hear of the rule.
  const isRule = RULE.test(argument) || (argument.includes(' ') && !(await exists(argument)));
  return isRule ? readRules([argument], field) : rulesFile(argument, field);
};

/** The rules of a file, as `rulesArgument` reads them. @throws UsageError naming `field` and the line */
export const rulesFile = async (file: string, field: string): Promise<readonly Rule[]> => {
  const lines = await readLines(file, field);
  try {
    return parseRules(lines.map(({ text }) => text));
  } catch (error) {
    if (!(error instanceof DaypassError)) throw error;
    const wrong = lines.find(({ text }) => !isSound(text));
    throw new UsageError(error.message, wrong === undefined ? field : `${field}, line ${wrong.number}`, error.code);
  }
};

const exists = (file: string): Promise<boolean> =>
  access(file).then(
    () => true,
    () => false,
  );

const isSound = (text: string): boolean => {
  try {
    parseRule(text);
    return true;
  } catch {
    return false;
  }
};

/** @throws UsageError `invalid_rule` naming `field` */
export const readRules = (texts: readonly string[], field: string): readonly Rule[] => {
  try {
    return parseRules(texts);
  } catch (error) {
    if (error instanceof DaypassError) throw new UsageError(error.message, field, error.code);
    throw error;
  }
};

type Line = { readonly text: string; readonly number: number };

const readLines = async (file: string, field: string): Promise<readonly Line[]> => {
  const bytes = await readBytes(file, field, MAX_BYTES);
  return new TextDecoder()
    .decode(bytes)
    .split('\n')
    .map((line, index) => ({ text: line.trim(), number: index + 1 }))
    .filter(({ text }) => text !== '' && !text.startsWith('#'));
};

/** A file of at most so many bytes. @throws UsageError naming `field` */
export const readBytes = async (file: string, field: string, bytesMax: number): Promise<Uint8Array> => {
  const bytes = await readFile(file).catch((cause: NodeJS.ErrnoException) => {
    throw new UsageError(`${field}: ${file} cannot be read: ${reasonOf(cause.code)}`, field);
  });
  if (bytes.length > bytesMax) throw new UsageError(`${field}: ${file} is larger than ${bytesMax} bytes`, field);
  return bytes;
};

const reasonOf = (code: string | undefined): string => {
  if (code === 'ENOENT') return 'there is no such file';
  return code === 'EISDIR' ? 'it is a folder' : (code ?? 'unknown reason');
};
