// Checks that are a command's verdict: a tool of node_modules is run, and its output is the problem when it fails.
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { root } from './sources.ts';

const tools = join(root, 'node_modules', '.bin');

/** Runs a tool at the root; its output when it fails, nothing when it succeeds. */
export function command(tool: string, args: readonly string[]): Promise<readonly string[]> {
  const env = { ...process.env, PATH: `${tools}${delimiter}${process.env.PATH ?? ''}` };
  const options = { cwd: root, env, maxBuffer: 64 * 1024 * 1024, timeout: 300_000 };
  return new Promise((resolve) => {
    execFile(join(tools, tool), args, options, (error, stdout, stderr) => {
      const said = `${stdout}${stderr}`.trim();
      resolve(error === null ? [] : [said === '' ? error.message : said.slice(-8000)]);
    });
  });
}

/** Compares the contract with the committed image of it: fields may be added, never moved, retyped or removed. */
export async function protosUnbroken(): Promise<readonly string[]> {
  return inTemporaryFolder(async (folder) => {
    const image = join(folder, 'now.binpb');
    const built = await command('buf', ['build', '--path', 'proto/daypass', '-o', image]);
    return built.length > 0 ? built : command('buf', ['breaking', image, '--against', 'proto/baseline.binpb']);
  });
}

/** Generates the code again, elsewhere, and compares it with the committed code. */
export async function generatedUnchanged(): Promise<readonly string[]> {
  return inTemporaryFolder(async (folder) => {
    const generated = await command('buf', ['generate', '-o', folder]);
    if (generated.length > 0) return generated;
    const folders = ['sdk/gen', 'control-plane/gen'];
    const differences = await Promise.all(folders.map((path) => compare(join(root, path), join(folder, path), path)));
    return differences.flat();
  });
}

async function compare(committed: string, generated: string, label: string): Promise<readonly string[]> {
  const [here, there] = await Promise.all([filesBelow(committed), filesBelow(generated)]);
  const problems: string[] = [];
  for (const [path, text] of there) {
    if (here.get(path) !== text) problems.push(`${label}/${path} is not what \`npm run generate\` writes`);
  }
  for (const path of here.keys()) if (!there.has(path)) problems.push(`${label}/${path} is not generated any more`);
  return problems;
}

async function filesBelow(folder: string): Promise<ReadonlyMap<string, string>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return new Map(
    await Promise.all(
      paths.map(async (path) => [path.slice(folder.length + 1), await readFile(path, 'utf8')] as const),
    ),
  );
}

async function inTemporaryFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'daypass-check-'));
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
