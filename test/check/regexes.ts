// Regular expressions that take long for some input: every literal of the product is put to `recheck`.
import { runInNewContext } from 'node:vm';
import { checkSync } from 'recheck';
import { parseAst } from 'vitest/node';
import { readSources, type SourceFile } from './sources.ts';

// The engine in JavaScript: the others are there for some platforms only.
process.env.RECHECK_SYNC_BACKEND = 'pure';

/** A literal, and where it stands. */
export type Literal = {
  readonly path: string;
  readonly line: number;
  readonly pattern: string;
  readonly flags: string;
};

/** Literals that are not shown to be linear, and expressions that are made at run time, which no check can see. */
export async function regexProblems(): Promise<readonly string[]> {
  const product = /^(?:sdk|cli|control-plane|data-plane)\/(?!gen\/).*\.m?[tj]s$/;
  const files = await readSources((path) => product.test(path) && !path.endsWith('.d.ts'));
  return problemsIn(files);
}

/** The same for files in memory. */
export function problemsIn(files: readonly SourceFile[]): readonly string[] {
  const found = files.map(expressionsOf);
  const made = found.flatMap((one) => one.made.map((place) => `${place} makes a regular expression at run time`));
  const byText = Map.groupBy(
    found.flatMap((one) => one.literals),
    ({ pattern, flags }) => `/${pattern}/${flags}`,
  );
  const slow = [...byText].flatMap(([text, [first]]) => (first === undefined ? [] : verdictOf(text, first)));
  return [...made, ...slow];
}

function verdictOf(text: string, { path, line, pattern, flags }: Literal): readonly string[] {
  const result = checkSync(pattern, flags.replace(/[dv]/g, ''), { timeout: 10_000, attackTimeout: 500 });
  if (result.status === 'safe') return [];
  if (result.status === 'vulnerable' && result.checker === 'fuzz' && !isSlow(pattern, flags, result.attack.string))
    return [];
  const why = result.status === 'vulnerable' ? result.complexity.summary : result.error.kind;
  return [`${path}:${line} ${text} is ${result.status}: ${why}`];
}

/** Milliseconds of processor time that no attack may take. */
const SLOW_MS = 100;

// What the fuzzer of `recheck` suspects, it proves by the clock, which on a busy machine proves too much.
function isSlow(pattern: string, flags: string, attack: string): boolean {
  const spent = (): number => {
    const { user, system } = process.threadCpuUsage();
    return (user + system) / 1000;
  };
  const before = spent();
  try {
    runInNewContext('expression.exec(attack)', { expression: new RegExp(pattern, flags), attack }, { timeout: 5000 });
  } catch {
    return true;
  }
  return spent() - before > SLOW_MS;
}

type Expressions = { readonly literals: readonly Literal[]; readonly made: readonly string[] };

/** The regular expressions of a file, by its syntax tree: a slash may also divide. */
export function expressionsOf({ path, text }: SourceFile): Expressions {
  const literals: Literal[] = [];
  const made: string[] = [];
  const lineAt = (offset: unknown): number => text.slice(0, Number(offset)).split('\n').length;
  const visit = (node: unknown): void => {
    if (typeof node !== 'object' || node === null) return;
    if ('regex' in node && isRegex(node.regex) && 'start' in node)
      literals.push({ path, line: lineAt(node.start), pattern: node.regex.pattern, flags: node.regex.flags });
    if ('callee' in node && isNamed(node.callee, 'RegExp') && 'start' in node)
      made.push(`${path}:${lineAt(node.start)}`);
    for (const child of Object.values(node)) visit(child);
  };
  visit(parseAst(text, { lang: path.endsWith('ts') ? 'ts' : 'js' }, path));
  return { literals, made };
}

const isRegex = (value: unknown): value is { pattern: string; flags: string } =>
  typeof value === 'object' && value !== null && 'pattern' in value && 'flags' in value;

const isNamed = (node: unknown, name: string): boolean =>
  typeof node === 'object' && node !== null && 'name' in node && node.name === name;
