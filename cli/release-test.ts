// Tests a change on recorded requests before it is made, and says which would be decided otherwise.

import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import { DaypassError } from '@daypass/core/errors';
import {
  type ReplayedDecision,
  type TestRequestSchema,
  type TestResponse,
  TestResponseSchema,
  type TestSummary,
  ReplayedDecision_Verdict as Verdict,
} from '@daypass/sdk/gen/daypass/v1/release_pb';
import type { Command } from 'commander';
import type { Connection } from './connection.ts';
import type { Context } from './context.ts';
import { jsonLine, printable, table } from './output.ts';

/** What is tested, and on which requests. */
export type TestRequest = MessageInitShape<typeof TestRequestSchema>;

/** Adds `--test` to a command that makes a change. */
export const addTest = (command: Command): Command =>
  command.option('--test', 'change nothing; say which recorded requests of the last 24 h it would decide otherwise');

/** Plays the requests again and prints what would change; exit code 1 if anything would. */
export const testChange = async (
  { io, exit }: Context,
  connection: Connection,
  request: TestRequest,
  asJson: boolean,
): Promise<void> => {
  const decisions: ReplayedDecision[] = [];
  let summary: TestSummary | undefined;
  for await (const response of connection.releases.test(request, { timeoutMs: 0 })) {
    if (asJson) io.out(jsonLine(TestResponseSchema, response));
    const { event }: TestResponse = response;
    if (event.case === 'decision' && !asJson) decisions.push(event.value);
    if (event.case === 'summary') summary = event.value;
  }
  if (summary === undefined) throw new DaypassError('internal', 'the control plane ended the test without a summary');
  if (!asJson) io.out(`${groupsText(decisions)}${summaryText(summary)}`);
  if (summary.refused + summary.allowed > 0) exit(1);
};

const WOULD = new Map<Verdict, string>([
  [Verdict.REFUSED, 'would be refused'],
  [Verdict.ALLOWED, 'would be allowed'],
  [Verdict.UNKNOWN, 'cannot tell'],
]);

/** Those that differ in nothing but their time are one line. */
const groupsText = (decisions: readonly ReplayedDecision[]): string => {
  if (decisions.length === 0) return '';
  const groups = Map.groupBy(decisions, (one) => JSON.stringify(columnsOf(one)));
  const rows = [...groups.values()]
    .sort((a, b) => b.length - a.length)
    .flatMap(([first, ...others]) => (first === undefined ? [] : [[...columnsOf(first), String(1 + others.length)]]));
  return `${table(['', 'CLIENT', 'REQUEST', 'WHY', 'TIMES'], rows)}\n`;
};

const columnsOf = (one: ReplayedDecision): readonly string[] => [
  WOULD.get(one.verdict) ?? '-',
  one.client || '-',
  `${one.method} /s/${one.service}${one.path}`,
  [one.code || one.why, one.rule].filter((text) => text !== '').join(': '),
];

const summaryText = (summary: TestSummary): string => {
  const { replayed, unchanged, refused, allowed, unknown, cut, oldestTime, unseenFields } = summary;
  const since = oldestTime === undefined ? '' : ` since ${timestampDate(oldestTime).toISOString()}`;
  const counts = `${unchanged} decided as they are, ${refused} refused, ${allowed} allowed, ${unknown} cannot be told`;
  const more = cut ? 'There are older requests that were not looked at.\n' : '';
  const unseen = unseenFields.length === 0 ? '' : `What ${unseenFields.join(', ')} would change, no record shows.\n`;
  return printable(`${replayed} recorded requests${since}: ${counts}.`).concat(
    '\n',
    more,
    unseen,
    'Nothing was changed.\n',
  );
};
