// The fleet root that a snapshot is verified with: a file, or one that is known here and has the given fingerprint.
import { readFile } from 'node:fs/promises';
import { DaypassError } from '@daypass/core/errors';
import { controlPaths, dataPaths, rootPaths } from '@daypass/core/home';
import { parseStrictJson, readObject } from '@daypass/core/json';
import { fingerprint, type PublicJwk, readPublicJwk } from '@daypass/core/key';
import { UsageError } from '../failure.ts';
import type { Io } from '../io.ts';
import { type GlobalOptions, homeOf, nonEmpty } from '../settings.ts';

/** RFC 7638, SHA-256, base64url: never the name of a file that somebody would give a root. */
const FINGERPRINT = /^[A-Za-z0-9_-]{43}$/;

/** The root by `--root`, a file or a fingerprint, else that of the home, of its planes, or the pinned one. @throws UsageError */
export const findRoot = async (options: GlobalOptions, io: Io): Promise<PublicJwk> => {
  const given = options.root ?? nonEmpty(io.env.DAYPASS_ROOT);
  if (given !== undefined && !FINGERPRINT.test(given)) {
    const root = await readRoot(given);
    if (root !== undefined) return root;
    throw new UsageError(`--root: ${given} is neither the public key of a fleet root nor a fingerprint`, '--root');
  }
  const home = homeOf(options, io.env);
  for (const file of filesOf(home)) {
    const root = await readRoot(file);
    if (root === undefined || (given !== undefined && (await fingerprint(root)) !== given)) continue;
    if (given === undefined) io.note(`verified with the fleet root of ${file}`);
    return root;
  }
  const what = given === undefined ? 'no fleet root' : 'no fleet root of that fingerprint';
  throw new UsageError(`${what} is known under ${home}: give the file of its public key with --root`, '--root');
};

const filesOf = (home: string): readonly string[] => [
  rootPaths(home).publicKey,
  dataPaths(home).fleet,
  controlPaths(home).fleet,
  `${home}/pinned-root.jwk`,
];

/** A public key, or a `fleet.json` that has it; undefined where there is none. */
const readRoot = async (file: string): Promise<PublicJwk | undefined> => {
  try {
    const value = parseStrictJson(await readFile(file, 'utf8'));
    const object = readObject(value, 'root');
    return readPublicJwk(object.root ?? value, 'Ed25519', 'root');
  } catch (error) {
    if (error instanceof DaypassError || (error instanceof Error && 'code' in error)) return undefined;
    throw error;
  }
};
