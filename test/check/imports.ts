// Who may import whom: the table of the design as data, a reader of import statements, and a search for cycles.
import { posix } from 'node:path';
import { readSources, type SourceFile } from './sources.ts';

/** One import: where it stands, what it names as a path of the project, `npm:NAME` or `node:NAME`, types only or not. */
export type Import = { readonly from: string; readonly to: string; readonly typeOnly: boolean };

type Row = {
  /** The files that the row is for; the first row that fits a file is its own. */
  readonly from: RegExp;
  /** What they may import. */
  readonly may: readonly RegExp[];
  /** What they may import the types of. */
  readonly mayTypes?: readonly RegExp[];
};

const core = /^sdk\/core\//;
const generated = /^sdk\/gen\//;
const connect = /^npm:@connectrpc\/connect(?:\/|$)/;
const connectWeb = /^npm:@connectrpc\/connect-web$/;
const connectNode = /^npm:@connectrpc\/connect-node$/;
const protobuf = /^npm:@bufbuild\/protobuf(?:\/|$)/;
const protovalidate = /^npm:@(?:bufbuild\/protovalidate(?:\/|$)|connectrpc\/validate$)/;
const jose = /^npm:jose$/;
const node = /^node:/;
const composition = /^control-plane\/[a-z-]+\.ts$/;

const table: readonly Row[] = [
  { from: /^sdk\/core\/address\.ts$/, may: [core, /^node:(?:net|url)$/] },
  { from: core, may: [core, jose, /^npm:re2js$/] },
  { from: /^sdk\/build\.ts$/, may: [node] },
  { from: /^sdk\//, may: [/^sdk\//, connect, connectWeb, protobuf] },
  { from: /^cli\//, may: [/^cli\//, /^sdk\//, /^npm:(?:commander|yaml)$/, connect, protobuf, node] },
  {
    from: /^data-plane\//,
    may: [
      /^data-plane\//,
      core,
      /^sdk\/gen\/daypass\/v1\/(?:snapshot|audit|key|rollout)_pb\.ts$/,
      /^sdk\/(?:client|transport)\.ts$/,
      /^npm:undici$/,
      connect,
      protobuf,
      jose,
      node,
    ],
  },
  {
    from: composition,
    may: [/^control-plane\//, core, generated, connect, connectNode, protobuf, protovalidate, node],
  },
  {
    from: /^control-plane\/domain\//,
    // Of Node only what computes: hashes and compression, and giving others their turn in between.
    may: [/^control-plane\/domain\//, core, /^node:(?:crypto|zlib|timers\/promises)$/],
    mayTypes: [/^control-plane\/store\/interface\.ts$/],
  },
  {
    from: /^control-plane\/store\//,
    may: [/^control-plane\/store\//, core, /^npm:kysely(?:\/|$)/, /^npm:(?:sqlite3|pg)$/, node],
  },
  {
    from: /^control-plane\/rpc\//,
    may: [/^control-plane\/(?:rpc|domain|gen)\//, core, generated, connect, connectNode, protobuf, protovalidate],
  },
  { from: /^control-plane\/gen\//, may: [/^control-plane\/gen\//, protobuf, /^npm:@bufbuild\/protovalidate\//] },
];

/** Every import that the table does not have, every file that stands in no row, and every cycle. */
export async function importProblems(): Promise<readonly string[]> {
  const files = await readSources((path) => /^(?:sdk|cli|control-plane|data-plane)\/.*\.ts$/.test(path));
  return problemsOf(files);
}

/** The same for files in memory. */
export function problemsOf(files: readonly SourceFile[]): readonly string[] {
  const imports = files.flatMap(importsOf);
  const strangers = files
    .filter((file) => rowOf(file.path) === undefined)
    .map((file) => `${file.path} stands in no row of the import table`);
  const forbidden = imports.filter((one) => !isAllowed(one)).map((one) => `${one.from} must not import ${one.to}`);
  return [...strangers, ...forbidden, ...cyclesOf(imports)];
}

/** The imports of a file, `export … from` and `import()` included. */
export function importsOf(file: SourceFile): readonly Import[] {
  const statements =
    /^(?:import|export)\s+(type\s+)?(?:[\w*{][^;'"]*?\sfrom\s*)?(['"])([^'"\n]+)\2|\bimport\(\s*(['"])([^'"\n]+)\4\s*\)/gm;
  return [...withoutComments(file.text).matchAll(statements)].map((match) => ({
    from: file.path,
    to: targetOf(file.path, match[3] ?? match[5] ?? ''),
    typeOnly: match[1] !== undefined,
  }));
}

/** Cycles among the project's own files, types included: a cycle of types is a cycle for the reader. */
export function cyclesOf(imports: readonly Import[]): readonly string[] {
  const graph = Map.groupBy(imports, (one) => one.from);
  const done = new Set<string>();
  const cycles: string[] = [];
  const visit = (path: string, trail: readonly string[]): void => {
    const start = trail.indexOf(path);
    if (start >= 0) cycles.push(`cycle: ${[...trail.slice(start), path].join(' -> ')}`);
    if (start >= 0 || done.has(path)) return;
    for (const next of graph.get(path) ?? []) visit(next.to, [...trail, path]);
    done.add(path);
  };
  for (const path of graph.keys()) visit(path, []);
  return cycles;
}

function isAllowed({ from, to, typeOnly }: Import): boolean {
  const row = rowOf(from);
  if (row === undefined) return true;
  if (composition.test(to) && !composition.test(from)) return false;
  return [...row.may, ...(typeOnly ? (row.mayTypes ?? []) : [])].some((pattern) => pattern.test(to));
}

function rowOf(path: string): Row | undefined {
  return table.find((row) => row.from.test(path));
}

function targetOf(from: string, specifier: string): string {
  if (specifier.startsWith('.')) return posix.normalize(posix.join(posix.dirname(from), specifier));
  if (specifier === '@daypass/sdk') return 'sdk/index.ts';
  if (specifier.startsWith('@daypass/core/')) return `sdk/core/${specifier.slice('@daypass/core/'.length)}.ts`;
  if (specifier.startsWith('@daypass/sdk/')) return `sdk/${specifier.slice('@daypass/sdk/'.length)}.ts`;
  return specifier.startsWith('node:') ? specifier : `npm:${specifier}`;
}

function withoutComments(text: string): string {
  return text.replace(/^\s*\/\/.*$/gm, '').replace(/^\s*\/\*[\s\S]*?\*\//gm, '');
}
