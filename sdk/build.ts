// Builds what is published: @daypass/core and @daypass/sdk as JavaScript with declarations, by tsc alone.
import { execFile } from 'node:child_process';
import { copyFile, glob, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const SDK = dirname(fileURLToPath(import.meta.url));
const REPOSITORY = dirname(SDK);
const TSC = fileURLToPath(import.meta.resolve('typescript/package.json')).replace(/package\.json$/, 'bin/tsc');

/** Where the two packages go. */
export type BuildFolders = { readonly core: string; readonly sdk: string };

/** Builds both packages afresh; throws with the compiler's words when they do not compile. */
export async function build(to: BuildFolders): Promise<void> {
  const core = join(SDK, 'core');
  await compile(core, to.core, { include: [`${core}/*.ts`] });
  await finish(core, to.core, { './*': entryOf('./*') });
  await compile(SDK, to.sdk, {
    include: [`${SDK}/*.ts`, `${SDK}/gen`, `${REPOSITORY}/types`],
    exclude: [`${SDK}/build.ts`],
    // The SDK is compiled against the declarations that its users will have.
    paths: { '@daypass/core/*': [`${to.core}/*.d.ts`] },
  });
  await finish(SDK, to.sdk, { '.': entryOf('./index'), './gen/*': entryOf('./gen/*'), './*': entryOf('./*') });
}

type Sources = {
  readonly include: readonly string[];
  readonly exclude?: readonly string[];
  readonly paths?: Readonly<Record<string, readonly string[]>>;
};

async function compile(root: string, out: string, { include, exclude = [], paths = {} }: Sources): Promise<void> {
  await rm(out, { recursive: true, force: true });
  await mkdir(out, { recursive: true });
  const config = join(out, 'tsconfig.json');
  const emit = { noEmit: false, declaration: true, rootDir: root, outDir: out };
  const compilerOptions = { ...emit, typeRoots: [join(REPOSITORY, 'node_modules/@types')], paths };
  const extended = join(REPOSITORY, 'tsconfig.json');
  await writeFile(config, JSON.stringify({ extends: extended, compilerOptions, include, exclude }));
  await tsc(config);
  await rm(config);
}

async function tsc(config: string): Promise<void> {
  try {
    await promisify(execFile)(process.execPath, [TSC, '-p', config], { timeout: 120_000 });
  } catch (cause) {
    const said = cause instanceof Error && 'stdout' in cause ? String(cause.stdout) : '';
    throw new Error(`The packages do not compile:\n${said}`, { cause });
  }
}

async function finish(root: string, out: string, exports: object): Promise<void> {
  for await (const file of glob('**/*.d.ts', { cwd: out })) await pointAtJavaScript(join(out, file));
  const { name, version, description, license, engines, dependencies } = JSON.parse(
    await readFile(join(root, 'package.json'), 'utf8'),
  );
  const about = { name, version, description, license, type: 'module', sideEffects: false, engines };
  await writeFile(join(out, 'package.json'), `${JSON.stringify({ ...about, exports, dependencies }, null, 2)}\n`);
  await copyFile(join(REPOSITORY, 'LICENSE'), join(out, 'LICENSE'));
}

/** tsc rewrites relative imports in code, and leaves them in declarations. */
async function pointAtJavaScript(file: string): Promise<void> {
  const text = await readFile(file, 'utf8');
  await writeFile(file, text.replace(/((?:from |import[ (])["']\.{1,2}\/[^"'\n]*)\.ts(["'])/g, '$1.js$2'));
}

const entryOf = (path: string) => ({ types: `${path}.d.ts`, default: `${path}.js` });

if (import.meta.main) await build({ core: join(SDK, 'core/dist'), sdk: join(SDK, 'dist') });
