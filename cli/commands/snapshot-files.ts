// `daypass snapshot show`, `diff` and `verify`: what stands in a snapshot, and whether a node would take it.
import { DaypassError } from '@daypass/core/errors';
import { fingerprint } from '@daypass/core/key';
import { parseManifest } from '@daypass/core/snapshot';
import type { Snapshot } from '@daypass/sdk/gen/daypass/v1/snapshot_pb';
import { Command } from 'commander';
import { type Context, examples, type With } from '../context.ts';
import { timeFlag } from '../duration.ts';
import { UsageError } from '../failure.ts';
import { facts } from '../output.ts';
import { diffEntries } from '../snapshot/diff.ts';
import { findRoot } from '../snapshot/root.ts';
import { readSnapshotFile, signedOf, snapshotFrom } from '../snapshot/source.ts';
import { diffJson, diffText, entryJson, entryText, manifestText } from '../snapshot/text.ts';
import { STEPS, type Verified, verifyAsNode } from '../snapshot/verify.ts';

type ShowOptions = With<{ readonly at?: string; readonly pool?: string; readonly kind?: string }>;
type DiffOptions = With<{ readonly pool?: string }>;
type VerifyOptions = With<{
  readonly fleet?: string;
  readonly pool?: string;
  readonly node?: string;
  readonly atTime?: string;
}>;

/** `snapshot show`. */
export const snapshotShowCommand = (context: Context): Command =>
  examples(
    new Command('show')
      .description('show what a snapshot holds; nothing of it is verified')
      .argument('[file]', 'a file as a node keeps it (data/snapshot/last-known-good.bin), or a version')
      .option('--at <version>', 'a version that the control plane has, in place of a file')
      .option('--pool <name>', 'the pool of the version (default: default)')
      .option('--kind <kind>', 'only entries of this kind: service, credential, scope, key, status, cutoff, pool')
      .action((file: string | undefined, _options: unknown, self: Command) =>
        show(context, file, self.optsWithGlobals<ShowOptions>()),
      ),
    'daypass snapshot show .daypass/data/snapshot/last-known-good.bin',
    'daypass snapshot show --at 12 --kind service',
  );

const show = async ({ io }: Context, file: string | undefined, options: ShowOptions): Promise<void> => {
  const source = file ?? options.at;
  if (source === undefined || (file !== undefined && options.at !== undefined))
    throw new UsageError('give a file, or a version with --at', '--at');
  const snapshot = await snapshotFrom(source, 'file', options, io);
  const manifest = parseManifest(snapshot.manifest);
  const entries = snapshot.entries.filter(({ kind }) => options.kind === undefined || kind === options.kind);
  if (options.json === true) {
    io.out(`${JSON.stringify({ verified: false, manifest })}\n`);
    for (const entry of entries) io.out(entryJson(entry));
    return;
  }
  io.err('NOT VERIFIED: `daypass snapshot verify` says whether a node would take it.\n');
  io.out(manifestText(manifest));
  for (const entry of entries) io.out(`\n${entryText(entry)}`);
};

/** `snapshot diff`. */
export const snapshotDiffCommand = (context: Context): Command =>
  examples(
    new Command('diff')
      .description('what differs between two snapshots; named scopes by what they allow')
      .argument('<old>', 'a file, or a version that the control plane has')
      .argument('<new>', 'the same')
      .option('--pool <name>', 'the pool of the versions (default: default)')
      .action((before: string, after: string, _options: unknown, self: Command) =>
        compare(context, before, after, self.optsWithGlobals<DiffOptions>()),
      ),
    'daypass snapshot diff 11 12',
    'daypass snapshot diff last-known-good.bin 12 --json',
  );

const compare = async ({ io }: Context, before: string, after: string, options: DiffOptions): Promise<void> => {
  const from = await snapshotFrom(before, 'old', options, io);
  const to = await snapshotFrom(after, 'new', options, io);
  const differences = diffEntries(from.entries, to.entries);
  for (const difference of differences) io.out(options.json === true ? diffJson(difference) : diffText(difference));
  if (differences.length === 0 && options.json !== true) io.out('Their entries are the same.\n');
};

/** `snapshot verify`. */
export const snapshotVerifyCommand = (context: Context): Command =>
  examples(
    new Command('verify')
      .description(
        'make all checks of a node on a file, step by step; exit code 1 with the code of the one that refuses. ' +
          '--root also takes the fingerprint of a root that is known here',
      )
      .argument(
        '<file>',
        'as a node keeps it (what came after it is in the journal beside it), or `snapshot pull` writes it',
      )
      .option('--fleet <uri>', 'the fleet that it must be of (default: any that the root signed for)')
      .option('--pool <name>', 'the pool that it must be of')
      .option('--node <name>', 'the node that must be able to take it, where it is for some alone')
      .option('--at-time <time>', 'as at this time, for one that has expired: RFC 3339, or so long ago as 15m')
      .action((file: string, _options: unknown, self: Command) =>
        verify(context, file, self.optsWithGlobals<VerifyOptions>()),
      ),
    'daypass snapshot verify .daypass/data/snapshot/last-known-good.bin',
    'daypass snapshot verify old.bin --root fleet-root.pub.jwk --at-time 2026-01-31T09:00:00Z',
  );

const verify = async ({ io }: Context, file: string, options: VerifyOptions): Promise<void> => {
  const nowMs = options.atTime === undefined ? io.now() : timeFlag(options.atTime, '--at-time', io.now());
  const root = await findRoot(options, io);
  const snapshot = await readSnapshotFile(file, 'file');
  const { fleet, pool, node } = options;
  const result = await verifyAsNode(signedOf(snapshot), { root, fleet, pool, node, now: nowMs / 1000 });
  io.out(options.json === true ? resultJson(result) : await resultText(result, snapshot, await fingerprint(root)));
  if ('refused' in result) throw new DaypassError(result.refused.code, result.refused.message);
};

const resultJson = (result: Verified): string => {
  if ('refused' in result)
    return `${JSON.stringify({ verified: false, step: result.at, code: result.refused.code })}\n`;
  const { manifest, digest } = result.verified;
  return `${JSON.stringify({ verified: true, digest, manifest })}\n`;
};

const resultText = (result: Verified, { entries }: Snapshot, root: string): string => {
  const end = 'refused' in result ? STEPS.indexOf(result.at) : STEPS.length;
  const steps = STEPS.map((step, at) => {
    const mark = at < end ? 'ok' : at === end ? 'REFUSED' : '-';
    return `${String(at + 1).padStart(2)}. ${step.padEnd(30)}${mark}\n`;
  }).join('');
  if ('refused' in result) return steps;
  const { manifest, digest } = result.verified;
  const more = facts([
    ['digest', digest],
    ['entries', String(entries.length)],
    ['fleet root', root],
  ]);
  return `${steps}\n${manifestText(manifest)}${more}`;
};
