// The last line of a CI run: counts checks and tests from their reports. Argument: the exit code of the run so far.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { root } from './sources.ts';

const reports = join(root, 'node_modules', '.cache', 'daypass');
const status = Number(process.argv[2] ?? '1');

const checks = (await readReport('checks.json')) as { passed: number; failed: number } | undefined;
const tests = (await readReport('tests.json')) as VitestReport | undefined;

type VitestReport = {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly testResults: readonly {
    readonly status: string;
    readonly assertionResults: readonly { status: string }[];
  }[];
};

const passed = (checks?.passed ?? 0) + (tests?.numPassedTests ?? 0);
const counted = (checks?.failed ?? 0) + (tests?.numFailedTests ?? 0) + brokenFiles(tests);
// Whatever made the run fail counts, even when no report names it: an install, a threshold, a crash.
const failed = counted === 0 && (status !== 0 || passed === 0) ? 1 : counted;
process.stdout.write(`${passed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 ? 0 : 1;

/** Test files that failed outside any test: a syntax error, a hook. */
function brokenFiles(report: VitestReport | undefined): number {
  const failedFiles = (report?.testResults ?? []).filter((file) => file.status === 'failed');
  return failedFiles.filter((file) => !file.assertionResults.some((one) => one.status === 'failed')).length;
}

async function readReport(name: string): Promise<unknown> {
  return readFile(join(reports, name), 'utf8').then(JSON.parse, () => undefined);
}
