// The tests that a group of mutants is held against, with the very sources that stand beside this file.
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';
import { group } from './groups.ts';

const root = join(import.meta.dirname, '..', '..');

export default defineConfig({
  root,
  // The workspace links of node_modules lead to the sources without mutants.
  resolve: { alias: [{ find: /^@daypass\/core\/(.+)$/, replacement: join(root, 'sdk/core/$1.ts') }] },
  test: { include: [...group().tests], testTimeout: 20_000, restoreMocks: true, isolate: false },
});
