// The demo's own credential: random, made at first start, and kept under the home for its owner alone.
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { DaypassError } from '@daypass/core/errors';
import { Secret } from '@daypass/core/secret';

/** Where the demo keeps its things. */
export const demoPaths = (home: string) => {
  const folder = `${home}/demo`;
  return { folder, credential: `${folder}/credential`, sealed: `${folder}/sealed.json` } as const;
};

/**
 * The credential that the demo upstream asks for; made where there is none.
 * @throws DaypassError `failed_precondition` naming the file
 */
export const demoCredential = async (home: string): Promise<Secret> => {
  const { folder, credential } = demoPaths(home);
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await writeFile(credential, `demo_${randomBytes(24).toString('base64url')}\n`, {
      flag: 'wx',
      mode: 0o600,
      flush: true,
    });
  } catch (cause) {
    if (!isCode(cause, 'EEXIST')) throw unusable(credential, cause);
  }
  const text = await readFile(credential, 'utf8').catch((cause: unknown) => {
    throw unusable(credential, cause);
  });
  if (!/^[!-~]{16,200}\n?$/.test(text)) throw unusable(credential, undefined);
  return new Secret(text.trimEnd());
};

const isCode = (error: unknown, code: string): boolean =>
  error instanceof Error && 'code' in error && error.code === code;

const unusable = (path: string, cause: unknown): DaypassError =>
  new DaypassError('failed_precondition', `the demo credential ${path} cannot be used`, { cause, field: path });
