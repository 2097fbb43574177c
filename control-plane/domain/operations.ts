// The operations of a service's OpenAPI document: checked when they come, listed, and put in the place of `op:` rules.
import { DaypassError } from '@daypass/core/errors';
import type { OpRule, Rule } from '@daypass/core/rule';
import { expandOp } from '@daypass/core/rule-expand';
import { isOperationId, parseRule } from '@daypass/core/rule-parse';
import { printRule } from '@daypass/core/rule-print';
import type { Aggregates, OperationRow } from '../store/interface.ts';
import { nearIds } from './near-ids.ts';
import type { Problems } from './problems.ts';

/**
 * The rule that an `op:` rule stands for, its conditions included.
 * @throws {DaypassError} `invalid_rule` where there is no such operation, or it cannot take the conditions
 */
export type ExpandOperation = (rule: OpRule) => Rule;

const OP_RULE = /^op:([^ ]+)/;

/** Reads what the `op:` rules among `texts` stand for: as of now, in this transaction. */
export const operationLookup = async (
  tx: Pick<Aggregates, 'operations'>,
  service: string,
  texts: Iterable<string>,
): Promise<ExpandOperation> => {
  const ids = new Set<string>();
  for (const text of texts) {
    const id = OP_RULE.exec(text)?.[1];
    if (id !== undefined) ids.add(id);
  }
  const found = new Map((await tx.operations.get(service, [...ids])).map((row) => [row.id, row.rule]));
  // Only what is wrong asks for all of them.
  const others = found.size < ids.size ? await tx.operations.ids(service) : [];
  return expandFrom(found, others);
};

/** The same among operations that are at hand. */
export const lookupAmong = (rows: readonly OperationRow[]): ExpandOperation =>
  expandFrom(
    new Map(rows.map(({ id, rule }) => [id, rule])),
    rows.map(({ id }) => id),
  );

const expandFrom = (rules: ReadonlyMap<string, string>, ids: readonly string[]): ExpandOperation => {
  let hints = 0;
  return (rule) => {
    const text = rules.get(rule.operation);
    if (text !== undefined) return expandOp(rule, parseRule(text));
    hints += 1;
    const why = whyUnknown(rule.operation, ids, hints <= MAX_HINTS);
    throw new DaypassError('invalid_rule', `\`op:${rule.operation}\`: ${why}`);
  };
};

/** To look for near ids is dear, and nobody reads more. */
const MAX_HINTS = 3;

const whyUnknown = (id: string, ids: readonly string[], hinted: boolean): string => {
  if (ids.length === 0) return 'the service has no operations, since it was given no OpenAPI document';
  const near = hinted ? nearIds(id, ids).map((one) => `\`op:${one}\``) : [];
  return `the service has no such operation${near.length === 0 ? '' : `; did you mean ${near.join(' or ')}?`}`;
};

/** The most operations of a service. */
export const MAX_OPERATIONS = 10_000;
const MAX_SUMMARY_CHARS = 200;

/** Checks operations that somebody sent, each problem under `path` with its index; canonical rules out. */
export const readOperations = (
  rows: readonly OperationRow[],
  path: string,
  problems: Problems,
): readonly OperationRow[] => {
  if (rows.length > MAX_OPERATIONS) problems.add(path, `holds ${rows.length} operations of at most ${MAX_OPERATIONS}`);
  const ids = new Set<string>();
  return rows.slice(0, MAX_OPERATIONS).flatMap(({ id, rule, summary }, index) => {
    const at = `${path}[${index}]`;
    if (!isOperationId(id))
      problems.add(`${at}.id`, 'must be 1 to 200 letters, digits, dots, colons, slashes, dashes and _');
    else if (ids.has(id)) problems.add(`${at}.id`, `\`${id}\` is there twice`);
    ids.add(id);
    if ([...summary].length > MAX_SUMMARY_CHARS || /\p{Cc}/u.test(summary)) {
      problems.add(`${at}.summary`, `must be one line of at most ${MAX_SUMMARY_CHARS} characters`);
    }
    const canonical = problems.check(`${at}.rule`, () => printRule(checkRule(parseRule(rule))));
    return canonical === undefined ? [] : [{ id, rule: canonical, summary }];
  });
};

/** Conditions are for whoever asks for the operation. */
const checkRule = (rule: Rule): Rule => {
  if (rule.kind === 'regex' || (rule.kind === 'template' && rule.conditions.length === 0)) return rule;
  throw new DaypassError('invalid_rule', 'must be a method and a path, without conditions');
};
