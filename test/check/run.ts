// `npm run check`: every check that is not a test, a line each; all of them run, and one failure fails the whole.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { command, generatedUnchanged, protosUnbroken } from './commands.ts';
import { importProblems } from './imports.ts';
import { lockProblems } from './lock.ts';
import { regexProblems } from './regexes.ts';
import { root } from './sources.ts';
import { environmentProblems, wordProblems } from './words.ts';

type Check = { readonly name: string; readonly run: () => Promise<readonly string[]> };

const checks: readonly Check[] = [
  { name: 'format and lint', run: () => command('biome', ['check', '--error-on-warnings', '.']) },
  { name: 'types', run: () => command('tsc', ['--noEmit', '-p', '.']) },
  { name: 'buf lint', run: () => command('buf', ['lint']) },
  { name: 'buf breaking', run: protosUnbroken },
  { name: 'generated code unchanged', run: generatedUnchanged },
  { name: 'import table', run: importProblems },
  { name: 'lock file', run: lockProblems },
  { name: 'environment read in one place', run: environmentProblems },
  { name: 'words', run: wordProblems },
  { name: 'regular expressions', run: regexProblems },
];

let failed = 0;
for (const check of checks) {
  const started = performance.now();
  const problems = await check.run().catch((error: unknown) => [String(error)]);
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  if (problems.length > 0) failed += 1;
  process.stdout.write(`${problems.length === 0 ? 'ok    ' : 'FAILED'} ${check.name} (${seconds} s)\n`);
  for (const problem of problems) process.stdout.write(`       ${problem.replaceAll('\n', '\n       ')}\n`);
}
const passed = checks.length - failed;
process.stdout.write(`checks: ${passed} passed, ${failed} failed\n`);

const reports = join(root, 'node_modules', '.cache', 'daypass');
await mkdir(reports, { recursive: true });
await writeFile(join(reports, 'checks.json'), JSON.stringify({ passed, failed }));
process.exitCode = failed === 0 ? 0 : 1;
