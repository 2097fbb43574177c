// Rules as an argument: one rule, or a file of them.
import { readFile } from 'node:fs/promises';
import { DaypassError } from '@daypass/core/errors';
import type { Rule } from '@daypass/core/rule';
import { parseRules } from '@daypass/core/rule-parse';
import { UsageError } from './failure.ts';

const MAX_BYTES = 16 * 1024 * 1024;
/** What a rule begins with, and no usual file name does. */
const RULE = /^(?:(?:scope|op):|(?:graphql|mcp|[A-Z*][A-Z0-9_,*-]*) +[/~])/;

/**
 * The rules that an argument gives: the rule that it is, or those that stand in the file that it names, one a line;
 * empty lines and lines that begin with `#` are left out. @throws UsageError naming `field`
 */
export const rulesArgument = async (argument: string, field: string): Promise<readonly Rule[]> => {
  const lines = RULE.test(argument) ? [argument] : await readLines(argument, field);
  return readRules(lines, field);
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

const readLines = async (file: string, field: string): Promise<readonly string[]> => {
  const bytes = await readBytes(file, field, MAX_BYTES);
  return new TextDecoder()
    .decode(bytes)
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
};

/** A file of at most so many bytes. @throws UsageError naming `field` */
export const readBytes = async (file: string, field: string, bytesMax: number): Promise<Uint8Array> => {
  const bytes = await readFile(file).catch((cause: NodeJS.ErrnoException) => {
    throw new UsageError(`${field}: ${file} cannot be read: ${cause.code ?? 'unknown reason'}`, field);
  });
  if (bytes.length > bytesMax) throw new UsageError(`${field}: ${file} is larger than ${bytesMax} bytes`, field);
  return bytes;
};
