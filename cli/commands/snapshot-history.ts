// `daypass snapshot history` and `pull`: the versions of a pool, and one of them as a file.

import { writeFile } from 'node:fs/promises';
import { toBinary } from '@bufbuild/protobuf';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import { DaypassError } from '@daypass/core/errors';
import { parseManifest } from '@daypass/core/snapshot';
import {
  type EntryCount,
  type PublishedSnapshot,
  PublishedSnapshotSchema,
} from '@daypass/sdk/gen/daypass/v1/release_pb';
import { SnapshotSchema } from '@daypass/sdk/gen/daypass/v1/snapshot_pb';
import { Command } from 'commander';
import { openConnection } from '../connection.ts';
import { type Context, examples, type With } from '../context.ts';
import { UsageError } from '../failure.ts';
import { jsonLine, table } from '../output.ts';
import { collectItems, eachItem } from '../paging.ts';
import { fetchSnapshot, versionFlag } from '../snapshot/source.ts';

type HistoryOptions = With<{ readonly pool?: string; readonly limit: string }>;
type PullOptions = With<{ readonly pool?: string; readonly at?: string; readonly out?: string }>;

/** `snapshot history`. */
export const snapshotHistoryCommand = (context: Context): Command =>
  examples(
    new Command('history')
      .description('list what was published to a pool, newest first: what changed, by whom')
      .option('--pool <name>', 'the pool (default: default)')
      .option('--limit <number>', 'at most so many', '20')
      .action((_options: unknown, self: Command) => history(context, self.optsWithGlobals<HistoryOptions>())),
    'daypass snapshot history',
    'daypass snapshot history --pool eu --limit 1000 --json',
  );

const history = async ({ io }: Context, options: HistoryOptions): Promise<void> => {
  const limit = Number(/^[1-9]\d{0,8}$/.test(options.limit) ? options.limit : Number.NaN);
  if (Number.isNaN(limit)) throw new UsageError(`--limit takes a number, not "${options.limit}"`, '--limit');
  const connection = await openConnection(options, io);
  const pool = options.pool ?? '';
  const versions = eachItem(async (page) => {
    const { snapshots, nextPageToken } = await connection.releases.listSnapshots({ pool, ...page });
    return { items: snapshots, nextPageToken };
  }, limit);
  if (options.json === true) for await (const one of versions) io.out(jsonLine(PublishedSnapshotSchema, one));
  else io.out(table(COLUMNS, (await collectItems(versions)).map(columnsOf)));
};

const COLUMNS = ['VERSION', 'TIME', 'BY', 'CHANGE', 'ENTRIES', 'FOR', 'DIGEST'] as const;

const columnsOf = (one: PublishedSnapshot): readonly string[] => [
  String(one.version),
  one.issueTime === undefined ? '' : timestampDate(one.issueTime).toISOString(),
  one.caller || '-',
  `${one.method} ${one.subject}`.trim() || 'signed afresh',
  one.changes.map(countText).join(', ') || '-',
  one.nodes.join(',') || 'all',
  one.digest.slice(0, 12),
];

const countText = ({ kind, added, changed, removed }: EntryCount): string => {
  const counts = [
    ['+', added],
    ['~', changed],
    ['-', removed],
  ] as const;
  return `${kind} ${counts.flatMap(([sign, count]) => (count === 0 ? [] : [`${sign}${count}`])).join(' ')}`;
};

/** `snapshot pull`. */
export const snapshotPullCommand = (context: Context): Command =>
  examples(
    new Command('pull')
      .description('write a version to a file, as a node keeps it and `snapshot verify` reads it')
      .option('--pool <name>', 'the pool (default: default)')
      .option('--at <version>', 'the version (default: the newest)')
      .option('--out <file>', 'where to; must not be there yet (default: snapshot-<pool>-<version>.bin)')
      .action((_options: unknown, self: Command) => pull(context, self.optsWithGlobals<PullOptions>())),
    'daypass snapshot pull',
    'daypass snapshot pull --at 12 --out before.bin',
  );

const pull = async ({ io }: Context, options: PullOptions): Promise<void> => {
  const version = versionFlag(options.at);
  const snapshot = await fetchSnapshot(await openConnection(options, io), version, options.pool);
  const manifest = parseManifest(snapshot.manifest);
  const file = options.out ?? `snapshot-${manifest.pool.replaceAll(/[^a-z0-9-]/g, '_')}-${manifest.version}.bin`;
  await writeFile(file, toBinary(SnapshotSchema, snapshot), { flag: 'wx', mode: 0o600 }).catch(unwritable(file));
  if (options.json === true) {
    io.out(`${JSON.stringify({ file, pool: manifest.pool, version: manifest.version })}\n`);
    return;
  }
  io.out(`Wrote version ${manifest.version} of ${manifest.pool} to ${file}.\n`);
};

const unwritable = (file: string) => (cause: NodeJS.ErrnoException) => {
  throw new DaypassError('failed_precondition', `${file} cannot be written: ${cause.code ?? 'unknown reason'}`, {
    cause,
    field: '--out',
  });
};
