// The flags that give a change to some nodes first, and how a canary is shown.
import { create } from '@bufbuild/protobuf';
import { durationFromMs, timestampDate } from '@bufbuild/protobuf/wkt';
import {
  type Canary,
  type CanaryPlan,
  CanaryPlanSchema,
  type CanaryTally,
} from '@daypass/sdk/gen/daypass/v1/canary_pb';
import type { Command } from 'commander';
import { durationFlag } from './duration.ts';
import { UsageError } from './failure.ts';
import { facts } from './output.ts';

/** What the flags hold. */
export type CanaryOptions = {
  readonly canary?: string;
  readonly canaryNodes?: string;
  readonly promoteAfter?: string;
};

/** Adds the flags to a command that makes a change. */
export const addCanary = (command: Command): Command =>
  command
    .option(
      '--canary <number>',
      'give it to so many data planes of the pool first; it takes itself back if they refuse more',
    )
    .option('--canary-nodes <names>', 'give it to these data planes first, with commas between')
    .option('--promote-after <duration>', 'of a canary: give it to all after so long without a fault (default: never)');

/** The plan as the API has it; nothing where the change is for all at once. @throws UsageError */
export const canaryField = (options: CanaryOptions): { canary?: CanaryPlan } => {
  const { canary, canaryNodes, promoteAfter } = options;
  if (canary === undefined && canaryNodes === undefined) {
    if (promoteAfter !== undefined)
      throw new UsageError('--promote-after goes with --canary or --canary-nodes', '--promote-after');
    return {};
  }
  if (canary !== undefined && canaryNodes !== undefined)
    throw new UsageError('give --canary or --canary-nodes', '--canary');
  const count = canary === undefined ? 0 : countOf(canary);
  const nodes = (canaryNodes ?? '').split(',').filter((name) => name !== '');
  if (count === 0 && nodes.length === 0) throw new UsageError('--canary-nodes names no node', '--canary-nodes');
  const after =
    promoteAfter === undefined ? {} : { promoteAfter: durationFromMs(durationFlag(promoteAfter, '--promote-after')) };
  return { canary: create(CanaryPlanSchema, { count, nodes, ...after }) };
};

const countOf = (text: string): number => {
  if (/^[1-9]\d?$/.test(text)) return Number(text);
  throw new UsageError(`--canary takes a number of data planes, 1 to 64, not "${text}"`, '--canary');
};

/** A canary for people. */
export const canaryText = (canary: Canary): string => {
  const { pool, nodes, subject, method, caller, ending, why, version, id } = canary;
  const time = (at: Canary['startTime']): string => (at === undefined ? '' : timestampDate(at).toISOString());
  return facts([
    ['pool', pool],
    ['canary', ENDINGS.get(ending) ?? ending],
    ['why', why],
    ['nodes', nodes.join(', ')],
    ['change', `${method} ${subject}`],
    ['by', caller],
    ['id', id],
    ['since', `${time(canary.startTime)} (version ${version})`],
    ['promoted at', canary.endTime === undefined ? time(canary.promoteTime) || 'no time: it waits for somebody' : ''],
    ['ended', time(canary.endTime)],
    ['bad requests', tallyText(canary.during)],
    ['  before', tallyText(canary.before)],
    ['  other nodes', tallyText(canary.others)],
  ]);
};

const ENDINGS = new Map([
  ['', 'running'],
  ['promoted', 'promoted'],
  ['taken_back', 'taken back'],
]);

const tallyText = (tally: CanaryTally | undefined): string =>
  tally === undefined ? '' : `${tally.bad} of ${tally.requests}`;
