// `npm run mutate [-- GROUP…]`: mutation tests of each group in turn, or of those named; reports in the temporary folder.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { groups } from './groups.ts';

const root = join(import.meta.dirname, '..', '..');
const named = process.argv.slice(2);

const mutate = (group: string): Promise<number> =>
  new Promise((resolve, reject) => {
    const stryker = join(root, 'node_modules', '@stryker-mutator', 'core', 'bin', 'stryker.js');
    const args = [stryker, 'run', join('test', 'mutation', 'stryker.config.mjs')];
    const env = { ...process.env, MUTATE_GROUP: group };
    const child = spawn(process.execPath, args, { cwd: root, env, stdio: 'inherit' });
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });

for (const group of named.length > 0 ? named : Object.keys(groups)) {
  const code = await mutate(group);
  if (code !== 0) process.exitCode = code;
}
