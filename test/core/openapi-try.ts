// `npm run try:openapi [-- FILE.tgz]`: compiles GitHub's whole description, which npm has, and says what came of it.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { compileOpenApi } from '@daypass/core/openapi';

const PACKAGE = '@octokit/openapi@23.0.2';
const FILE = 'package/generated/api.github.com.json';

const folder = mkdtempSync(join(tmpdir(), 'daypass-openapi-'));
const say = (line: string): boolean => process.stdout.write(`${line}\n`);
const timed = <T>(what: string, work: () => T): T => {
  const started = performance.now();
  const result = work();
  say(`${what}: ${(performance.now() - started).toFixed(0)} ms`);
  return result;
};

/** The packed package: the one that is given, or fetched with npm. */
const packed = (): string => {
  const [given] = process.argv.slice(2);
  if (given !== undefined) return resolve(given);
  const args = ['pack', PACKAGE, '--silent', '--pack-destination', folder];
  return join(folder, execFileSync('npm', args, { encoding: 'utf8' }).trim());
};

try {
  execFileSync('tar', ['-xzf', packed(), '-C', folder, FILE]);
  const text = readFileSync(join(folder, FILE), 'utf8');
  say(`${PACKAGE} ${FILE}: ${text.length} characters`);
  const document: unknown = timed('parsed', () => JSON.parse(text));
  const { operations, skipped, notes, servers } = timed('compiled', () => compileOpenApi(document));
  say(`servers: ${servers.join(' ')}`);
  say(`operations: ${operations.length + skipped.length}; compiled: ${operations.length}; not: ${skipped.length}`);
  for (const { id, reason } of skipped) say(`  ${id}: ${reason}`);
  const count = (kind: string): number => notes.filter((note) => note.kind === kind).length;
  for (const kind of ['many', 'one', 'pattern', 'also']) say(`note ${kind}: ${count(kind)}`);
  process.exitCode = operations.length > 1000 && skipped.length <= 1 ? 0 : 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
