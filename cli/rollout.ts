// The receipt of a change, for people; and the flag that says how long to wait for it.
import { type Duration, durationFromMs, durationMs, timestampDate } from '@bufbuild/protobuf/wkt';
import type { Rollout } from '@daypass/sdk/gen/daypass/v1/rollout_pb';
import type { Command } from 'commander';
import { durationFlag } from './duration.ts';
import { UsageError } from './failure.ts';

const MAX_WAIT_MS = 5000;

/** Adds `--wait`. */
export const addWait = (command: Command): Command =>
  command.option('--wait <duration>', 'longest wait until all data planes have it, 0 to 5s (default 5s)');

/** The wait as the API has it; nothing where the flag is not given. @throws UsageError */
export const waitField = (wait: string | undefined): { wait?: Duration } => {
  if (wait === undefined) return {};
  const ms = durationFlag(wait, '--wait');
  if (ms > MAX_WAIT_MS) throw new UsageError('--wait is at most 5s', '--wait');
  return { wait: durationFromMs(ms) };
};

/** Where the change is in force, and where not yet. */
export const rolloutText = (rollout: Rollout | undefined): string => {
  if (rollout === undefined) return '';
  const { version, acknowledged, missing } = rollout;
  if (version === 0n) return 'No data plane needs to know.\n';
  const there = acknowledged.length === 0 ? '' : `, in force on ${acknowledged.join(', ')}`;
  const waited = waitedText(rollout);
  const lines = missing.map(({ node, leaseExpiresAt, nackCode }) => {
    const until =
      leaseExpiresAt === undefined ? '' : `, whose lease ends ${timestampDate(leaseExpiresAt).toISOString()}`;
    return `Not yet on ${node}${until}${nackCode === '' ? '' : `; it refused the newest snapshot: ${nackCode}`}.\n`;
  });
  return `Snapshot ${version}${there}${waited}.\n${lines.join('')}`;
};

/** How long it took, or how long it was waited for in vain. */
const waitedText = ({ acknowledged, missing, waitDuration }: Rollout): string => {
  if (waitDuration === undefined || acknowledged.length + missing.length === 0) return '';
  const ms = Math.ceil(durationMs(waitDuration));
  return missing.length === 0 ? ` after ${ms} ms` : `, waited for ${ms} ms`;
};
