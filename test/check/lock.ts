// The lock file, which must install anywhere: complete for every platform, with integrity, from the public registry.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { root } from './sources.ts';

/** A package of the lock file (npm's lockfileVersion 3), as far as it is looked at. */
export type LockPackage = {
  readonly name?: string;
  readonly version?: string;
  readonly resolved?: string;
  readonly integrity?: string;
  readonly link?: boolean;
  readonly dev?: boolean;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly peerDependenciesMeta?: Readonly<Record<string, { readonly optional?: boolean }>>;
};
/** The lock file's packages by their place, `''` being the root. */
export type LockPackages = Readonly<Record<string, LockPackage>>;

/** Reads package-lock.json. */
export async function readLock(): Promise<LockPackages> {
  const lock = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8')) as { packages: LockPackages };
  return lock.packages;
}

/** What would make `npm ci` fail on another platform or reach another place. */
export async function lockProblems(): Promise<readonly string[]> {
  const packages = await readLock();
  return [...Object.entries(packages).flatMap(([place, entry]) => entryProblems(place, entry, packages))];
}

/** What is wrong with one package of the lock file. */
export function entryProblems(place: string, entry: LockPackage, packages: LockPackages): readonly string[] {
  const problems: string[] = [];
  const registry = place.includes('node_modules/') && entry.link !== true;
  if (registry && !/^sha512-[A-Za-z0-9+/]{86}==$/.test(entry.integrity ?? ''))
    problems.push(`${place} has no integrity`);
  if (registry && entry.resolved !== undefined && !entry.resolved.startsWith('https://registry.npmjs.org/')) {
    problems.push(`${place} comes from ${entry.resolved}`);
  }
  if (!registry && /^(?:\/|file:|[A-Za-z]:|\.\.)/.test(entry.resolved ?? '')) {
    problems.push(`${place} is a path outside the project`);
  }
  const wanted = { ...entry.dependencies, ...entry.optionalDependencies, ...requiredPeers(entry) };
  for (const name of Object.keys(wanted)) {
    if (locate(place, name, packages) === undefined)
      problems.push(`${place || 'the root'} needs ${name}, which is missing`);
  }
  return problems;
}

/** Where a package at `place` finds `name`: the nearest node_modules above it, as Node resolves. */
export function locate(place: string, name: string, packages: LockPackages): string | undefined {
  for (let folder = place; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf('/')))) {
    const candidate = folder === '' ? `node_modules/${name}` : `${folder}/node_modules/${name}`;
    if (packages[candidate] !== undefined) return candidate;
    if (folder === '') return undefined;
  }
}

function requiredPeers(entry: LockPackage): Readonly<Record<string, string>> {
  const peers = Object.entries(entry.peerDependencies ?? {});
  return Object.fromEntries(peers.filter(([name]) => entry.peerDependenciesMeta?.[name]?.optional !== true));
}
