// The flags of every command that changes a service: how long to wait, a test in its place, some data planes first.
import type { Duration } from '@bufbuild/protobuf/wkt';
import type { CanaryPlan } from '@daypass/sdk/gen/daypass/v1/canary_pb';
import type { Rollout } from '@daypass/sdk/gen/daypass/v1/rollout_pb';
import type { Command } from 'commander';
import { addCanary, type CanaryOptions, canaryField } from './canary.ts';
import { addTest } from './release-test.ts';
import { addWait, rolloutText, waitField } from './rollout.ts';

/** What the flags hold. */
export type ReleasingOptions = CanaryOptions & { readonly wait?: string; readonly test?: boolean };

/** What they make of a request. */
export type ReleasingFields = { wait?: Duration; canary?: CanaryPlan };

/** Adds `--wait`, `--test` and those of a canary. */
export const addReleasing = (command: Command): Command => addCanary(addTest(addWait(command)));

/** The fields of a request. @throws UsageError */
export const releasingFields = (options: ReleasingOptions): ReleasingFields => ({
  ...waitField(options.wait),
  ...canaryField(options),
});

/** What was done, and where it is in force. */
export const releasedText = (done: string, { canary }: ReleasingFields, rollout: Rollout | undefined): string =>
  canary === undefined
    ? `${done}\n${rolloutText(rollout)}`
    : `A canary: ${done}\n${rolloutText(rollout)}${CANARY_NEXT}`;

const CANARY_NEXT =
  'All other data planes stay as they are until `daypass snapshot promote`; `daypass snapshot status` shows how it does.\n';
