// How mutants are made and run: `npm run mutate` runs it once a group of `groups.ts`.
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { group } from './groups.ts';

/** @type {import('@stryker-mutator/api/core').PartialStrykerOptions} */
export default {
  testRunner: 'vitest',
  vitest: { configFile: 'test/mutation/vitest.config.ts', related: false },
  plugins: ['@stryker-mutator/vitest-runner', './test/mutation/messages.mjs'],
  ignorers: ['messages'],
  coverageAnalysis: 'perTest',
  mutate: [...group().mutate],
  concurrency: 1,
  timeoutMS: 3_000,
  tempDirName: join(tmpdir(), 'daypass-mutants'),
  cleanTempDir: 'always',
  ignorePatterns: ['coverage', 'docs', 'proto', 'dist', '.daypass'],
  disableTypeChecks: false,
  // Rewriting it would take the old compiler's interface.
  tsconfigFile: 'none',
  reporters: ['clear-text', 'json', 'progress-append-only'],
  jsonReporter: { fileName: join(tmpdir(), `daypass-mutants-${process.env.MUTATE_GROUP ?? 'targets'}.json`) },
  clearTextReporter: { allowColor: false, logTests: false, reportTests: false },
};
