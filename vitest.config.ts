// How the tests run: real listeners and processes, so few workers and generous deadlines.
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 20_000,
    hookTimeout: 60_000,
    teardownTimeout: 10_000,
    unstubEnvs: true,
    restoreMocks: true,
    expect: { requireAssertions: true },
    coverage: {
      provider: 'v8',
      include: ['sdk/**/*.ts', 'cli/**/*.ts', 'control-plane/**/*.ts', 'data-plane/**/*.ts'],
      exclude: ['**/gen/**', '**/main.ts', 'sdk/build.ts', '**/dist/**'],
      reporter: ['text-summary', 'json-summary'],
      // What was reached, less a little: processes that tests start (mains, the e2e fleets) are not counted.
      thresholds: { statements: 90, branches: 83, functions: 90, lines: 91 },
    },
  },
});
