// `daypass audit`: what was asked through the proxy, and what came of it.
import { mkdir } from 'node:fs/promises';
import { DaypassError } from '@daypass/core/errors';
import { AuditEventSchema } from '@daypass/sdk/gen/daypass/v1/audit_pb';
import { Command } from 'commander';
import { type AuditOptions, addAuditFlags, auditFilter } from '../audit-filter.ts';
import { followAudit } from '../audit-follow.ts';
import { writeEventFile } from '../audit-sink.ts';
import { AUDIT_COLUMNS, auditColumns, auditLine } from '../audit-text.ts';
import { openConnection } from '../connection.ts';
import { type Context, examples, type With } from '../context.ts';
import { UsageError } from '../failure.ts';
import { jsonLine, table } from '../output.ts';
import { collectItems, eachItem } from '../paging.ts';

type ListOptions = With<AuditOptions & { readonly limit: string }>;
type TailOptions = With<AuditOptions & { readonly dir?: string }>;

/** The command and its subcommands. */
export const auditCommand = (context: Context): Command => {
  const command = new Command('audit').description('what was asked through the proxy, and what came of it');
  return command.addCommand(listCommand(context)).addCommand(tailCommand(context));
};

const listCommand = (context: Context): Command =>
  examples(
    addAuditFlags(new Command('list').description('list events, newest first'))
      .option('--until <time>', 'before then: RFC 3339, or so long ago as 15m')
      .option('--limit <number>', 'at most so many', '100')
      .action((_options: unknown, self: Command) => list(context, self.optsWithGlobals<ListOptions>())),
    'daypass audit list',
    'daypass audit list --service github --outcome refused --since 15m',
    'daypass audit list --since 2026-01-31T00:00:00Z --limit 10000 --json > january.jsonl',
  );

const list = async ({ io }: Context, options: ListOptions): Promise<void> => {
  const limit = Number(/^[1-9]\d{0,8}$/.test(options.limit) ? options.limit : Number.NaN);
  if (Number.isNaN(limit)) throw new UsageError(`--limit takes a number, not "${options.limit}"`, '--limit');
  const filter = auditFilter(options, io.now());
  const connection = await openConnection(options, io);
  const events = eachItem(async (page) => {
    const { events: items, nextPageToken } = await connection.audit.query({ filter, ...page });
    return { items, nextPageToken };
  }, limit);
  if (options.json === true) for await (const event of events) io.out(jsonLine(AuditEventSchema, event));
  else io.out(table(AUDIT_COLUMNS, (await collectItems(events)).map(auditColumns)));
};

const tailCommand = (context: Context): Command =>
  examples(
    addAuditFlags(new Command('tail').description('show events as they come, until Ctrl-C'))
      .option('--dir <folder>', 'also write each event to <folder>/<service>/<date>/<time>-<uuid>.json')
      .action((_options: unknown, self: Command) => tail(context, self.optsWithGlobals<TailOptions>())),
    'daypass audit tail --service github',
    'daypass audit tail --since 1h --json',
    'daypass audit tail --dir /var/log/daypass',
  );

const tail = async ({ io }: Context, options: TailOptions): Promise<void> => {
  const { dir } = options;
  if (dir !== undefined) await mkdir(dir, { recursive: true, mode: 0o700 }).catch(unwritable(dir));
  const filter = auditFilter(options, io.now());
  const connection = await openConnection(options, io);
  const stopping = new AbortController();
  const release = io.onStop(() => stopping.abort());
  try {
    for await (const event of followAudit(connection, filter, stopping.signal)) {
      if (dir !== undefined) await writeEventFile(dir, event).catch(unwritable(dir));
      io.out(options.json === true ? jsonLine(AuditEventSchema, event) : auditLine(event));
    }
  } finally {
    release();
  }
};

const unwritable = (dir: string) => (cause: NodeJS.ErrnoException) => {
  throw new DaypassError('failed_precondition', `${dir} cannot be written: ${cause.code ?? 'unknown reason'}`, {
    cause,
    field: '--dir',
  });
};
