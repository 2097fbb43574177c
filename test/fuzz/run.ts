// `npm run fuzz -- --target NAME --runs 1000000 --seed N`: fuzzes one target, or all; exits 1 when there is a find.
import { mkdtemp, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { lineOf, readCorpus } from './corpus.ts';
import { type FuzzTarget, fuzz } from './engine.ts';
import { targets } from './targets/all.ts';

const { values } = parseArgs({
  options: {
    target: { type: 'string', default: 'all' },
    runs: { type: 'string', default: '1000000' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    'max-ms': { type: 'string', default: '50' },
    verbose: { type: 'boolean', default: false },
  },
});
const chosen = targets.filter(({ name }) => values.target === 'all' || values.target === name);
const seed = Number(values.seed);

/** A long line goes to a file. */
const shown = async (line: string): Promise<string> => {
  if (line.length <= 4096) return line;
  const path = join(await mkdtemp(join(tmpdir(), 'daypass-fuzz-')), 'line.json');
  await writeFile(path, line);
  return path;
};

const runOne = async (target: FuzzTarget): Promise<number> => {
  const started = performance.now();
  const plan = { seeds: await readCorpus(target), runs: Number(values.runs), seed, maxMs: Number(values['max-ms']) };
  const { executions, worstMs, finds, outcomes } = await fuzz(target, plan);
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  const note = target.note === undefined ? '' : `, ${target.note()}`;
  console.log(
    `${target.name}: ${executions} executions, ${outcomes.size} ways to end${note}, ` +
      `worst ${worstMs.toFixed(2)} ms, ${finds.length} finds (${seconds} s)`,
  );
  for (const { input, what } of finds) console.log(`  ${what}\n  ${await shown(lineOf(target, input))}`);
  const byCount = [...outcomes].sort(([, a], [, b]) => b - a);
  if (values.verbose) for (const [outcome, count] of byCount) console.log(`  ${count} ${outcome}`);
  return finds.length;
};

if (chosen.length === 0) {
  console.error(`There is no such target. There are: ${targets.map(({ name }) => name).join(', ')}`);
  process.exitCode = 1;
}
const gib = Math.round(totalmem() / 2 ** 30);
console.log(`seed ${seed}, ${process.version}, ${availableParallelism()} processors, ${gib} GiB`);
let finds = 0;
for (const target of chosen) finds += await runOne(target);
if (finds > 0) process.exitCode = 1;
