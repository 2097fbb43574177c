// Words that have no place in the project, and the environment, which each program reads in one file only.
import { readSources, type SourceFile } from './sources.ts';

// Put together here so that this file does not hold them.
const unfinished = ['TO' + 'DO', 'FIX' + 'ME', 'X' + 'XX', 'HA' + 'CK'].map((word) => new RegExp(`\\b${word}\\b`));
const machinePaths = ['work', 'root', 'home/[a-z]', 'Users'].map(
  (folder) => new RegExp(`(^|[\\s"'\`=(])/${folder}${folder.includes('[') ? '' : '/'}`),
);
const credentials = [
  /-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----/,
  new RegExp(`\\bgh${'p_'}[A-Za-z0-9]{36}\\b`),
  new RegExp(`\\bdpk${'_'}[A-Za-z0-9_-]{43}\\b`),
];

/** The files that may read the environment: where a program starts, and what turns it into settings. */
const environmentReaders =
  /^(?:(?:control-plane|data-plane)\/(?:main|config)\.ts|cli\/(?:main|settings)\.ts|cli\/daypass\.mjs)$/;

/** Lines with an unfinished mark, a path of somebody's machine, or something that looks like a live key. */
export async function wordProblems(): Promise<readonly string[]> {
  const files = await readSources((path) => !/(?:\.binpb|\.png|\.ico)$/.test(path) && path !== 'package-lock.json');
  return files.flatMap((file) => linesWith(file, [...unfinished, ...machinePaths, ...credentials], 'has'));
}

/** Uses of `process.env` in the product outside the files that may. */
export async function environmentProblems(): Promise<readonly string[]> {
  const product = /^(?:sdk|cli|control-plane|data-plane)\/.*\.m?[tj]s$/;
  const files = await readSources((path) => product.test(path) && !environmentReaders.test(path));
  return files.flatMap((file) =>
    linesWith(file, [/\bprocess\s*\.\s*env\b/, /\bprocess\s*\[/], 'reads the environment:'),
  );
}

function linesWith(file: SourceFile, patterns: readonly RegExp[], what: string): readonly string[] {
  return file.text.split('\n').flatMap((line, index) => {
    const found = patterns.map((pattern) => pattern.exec(line)?.[0]).find((match) => match !== undefined);
    return found === undefined ? [] : [`${file.path}:${index + 1} ${what} ${found.trim()}`];
  });
}
