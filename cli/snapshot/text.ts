// Snapshots, their entries and what differs between two, for people and for programs.
import type { Manifest } from '@daypass/core/snapshot';
import type { SnapshotEntry } from '@daypass/sdk/gen/daypass/v1/snapshot_pb';
import { facts, printable } from '../output.ts';
import { changeJson, changeText } from '../scope-text.ts';
import type { EntryDiff, MemberChange } from './diff.ts';
import { shown, valueText } from './shown.ts';

/** The manifest, member by member. */
export const manifestText = (manifest: Manifest): string => {
  const { fleet, pool, version, previous, issued_at, expires_at, features, root, nodes } = manifest;
  return facts([
    ['fleet', fleet],
    ['pool', pool],
    ['version', String(version)],
    ['previous', previous],
    ['issued', timeText(issued_at)],
    ['expires', timeText(expires_at)],
    ['features', features.join(', ')],
    ['only for', nodes?.join(', ') ?? ''],
    ['root', root],
  ]);
};

const timeText = (seconds: number): string => new Date(seconds * 1000).toISOString();

/** An entry: its kind and name, and below them its members. */
export const entryText = (entry: SnapshotEntry): string => {
  const members = Object.entries(shown(entry)).map(([name, value]) => [`  ${name}`, valueText(value)] as const);
  return `${printable(`${entry.kind} ${entry.name}`)}\n${facts(members)}`;
};

/** An entry as one JSON object a line. */
export const entryJson = (entry: SnapshotEntry): string =>
  `${JSON.stringify({ kind: entry.kind, name: entry.name, content: shown(entry) })}\n`;

const SIGNS = { added: '+', changed: '~', removed: '-' } as const;

/** A difference: the entry, and what changed in it. */
export const diffText = ({ kind, name, change, members, rules }: EntryDiff): string => {
  const changes =
    rules === undefined
      ? members.map(memberText)
      : [
          ...rules.widens.map((one) => changeText('+', one)),
          ...rules.narrows.map((one) => changeText('-', one)),
          ...(rules.widens.length + rules.narrows.length === 0 ? ['its rules allow the same\n'] : []),
          ...(rules.isCut ? ['there are more changes than are shown\n'] : []),
        ];
  return [`${SIGNS[change]} ${kind} ${name}\n`, ...changes.map(indented)].map(printableLines).join('');
};

const memberText = ({ member, before, after }: MemberChange): string => {
  const [from, to] = [valueText(before), valueText(after)];
  return from === to ? `${member}: another\n` : `${member}: ${from || '(none)'} → ${to || '(none)'}\n`;
};

const indented = (text: string): string => text.replace(/^(?=.)/gm, '    ');
const printableLines = (text: string): string => text.split('\n').map(printable).join('\n');

/** A difference as one JSON object a line. */
export const diffJson = ({ rules, ...entry }: EntryDiff): string => {
  const { widens, narrows, isCut } = rules ?? { widens: [], narrows: [], isCut: false };
  const changes =
    rules === undefined ? {} : { widens: widens.map(changeJson), narrows: narrows.map(changeJson), isCut };
  return `${JSON.stringify({ ...entry, ...changes })}\n`;
};
