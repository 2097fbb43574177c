// What differs between two snapshots: by entry, with the members that changed; named scopes by what they allow.
import { DaypassError } from '@daypass/core/errors';
import { diff, type RuleDiff } from '@daypass/core/rule-diff';
import { parseRules } from '@daypass/core/rule-parse';
import { compareEntries, type Entry } from '@daypass/core/snapshot';
import { membersOf, type Shown, shown } from './shown.ts';

/** A member of an entry before and after, as it may be shown. Equal: what changed in it is not shown. */
export type MemberChange = { readonly member: string; readonly before: unknown; readonly after: unknown };

/** An entry that differs. */
export type EntryDiff = {
  readonly kind: string;
  readonly name: string;
  readonly change: 'added' | 'changed' | 'removed';
  /** Of a changed one. */
  readonly members: readonly MemberChange[];
  /** Of a changed named scope whose rules can be read. */
  readonly rules: RuleDiff | undefined;
};

type Pair = { readonly before: Entry | undefined; readonly after: Entry | undefined };

/** Every entry that differs, in the order of kind and name. */
export const diffEntries = (before: readonly Entry[], after: readonly Entry[]): readonly EntryDiff[] => {
  const pairs = new Map<string, Pair>();
  for (const entry of before) pairs.set(keyOf(entry), { before: entry, after: undefined });
  for (const entry of after) pairs.set(keyOf(entry), { before: pairs.get(keyOf(entry))?.before, after: entry });
  return [...pairs.values()].flatMap(differenceOf).sort(compareEntries);
};

const keyOf = ({ kind, name }: Entry): string => `${kind} ${name}`;

const differenceOf = ({ before, after }: Pair): readonly EntryDiff[] => {
  const entry = after ?? before;
  if (entry === undefined) return [];
  const { kind, name } = entry;
  if (before === undefined) return [{ kind, name, change: 'added', members: [], rules: undefined }];
  if (after === undefined) return [{ kind, name, change: 'removed', members: [], rules: undefined }];
  if (Buffer.compare(before.content, after.content) === 0) return [];
  return [{ kind, name, change: 'changed', members: memberChanges(before, after), rules: ruleChanges(before, after) }];
};

const memberChanges = (before: Entry, after: Entry): readonly MemberChange[] => {
  const [from, to] = [membersOf(before.content) ?? {}, membersOf(after.content) ?? {}];
  const [shownFrom, shownTo] = [shown(before), shown(after)];
  const names = new Set([...Object.keys(from), ...Object.keys(to)]);
  return [...names]
    .filter((name) => JSON.stringify(from[name]) !== JSON.stringify(to[name]))
    .map((name) => shownMember(name, shownFrom, shownTo));
};

/** What stands for a member that is not shown itself. */
const SHOWN_AS: Readonly<Record<string, string>> = { sealed: 'kid', lst: 'revoked' };

const shownMember = (name: string, before: Shown, after: Shown): MemberChange => {
  const member = SHOWN_AS[name] ?? name;
  return { member, before: before[member], after: after[member] };
};

const ruleChanges = (before: Entry, after: Entry): RuleDiff | undefined => {
  if (before.kind !== 'scope') return undefined;
  const [from, to] = [rulesOf(before), rulesOf(after)];
  if (from === undefined || to === undefined) return undefined;
  try {
    return diff(parseRules(from), parseRules(to));
  } catch (error) {
    if (error instanceof DaypassError) return undefined;
    throw error;
  }
};

const rulesOf = ({ content }: Entry): readonly string[] | undefined => {
  const rules = membersOf(content)?.rules;
  return Array.isArray(rules) && rules.every((rule) => typeof rule === 'string') ? rules : undefined;
};
