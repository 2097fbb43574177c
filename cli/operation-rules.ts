// Puts the rules of operations in the place of `op:` rules, where the control plane is not the one to do it.
import { DaypassError } from '@daypass/core/errors';
import type { OpRule, Rule } from '@daypass/core/rule';
import { expandOp } from '@daypass/core/rule-expand';
import { parseRule } from '@daypass/core/rule-parse';
import { printRule } from '@daypass/core/rule-print';
import type { Connection } from './connection.ts';
import { UsageError } from './failure.ts';
import { collectItems, eachItem } from './paging.ts';

/**
 * The rules with those in the place of `op:` rules that they stand for now, as canonical texts. It is the control plane
 * that says so, which could say more: each is noted.
 * @throws UsageError naming the operation that the service does not have, or that takes no such condition
 */
export const expandOperations = async (
  connection: Pick<Connection, 'services' | 'io'>,
  service: string,
  texts: readonly string[],
): Promise<readonly string[]> => {
  const rules = texts.map((text) => parseRule(text));
  const ids = [...new Set(rules.flatMap((rule) => (rule.kind === 'op' ? [rule.operation] : [])))];
  if (ids.length === 0) return texts;
  if (ids.length > MAX_IDS) throw new UsageError(`--allow names more than ${MAX_IDS} operations`, '--allow');
  const found = await collectItems(
    eachItem(async (page) => {
      const { operations: items, nextPageToken } = await connection.services.listOperations({ service, ids, ...page });
      return { items, nextPageToken };
    }),
  );
  const known = new Map(found.map(({ id, rule }) => [id, rule]));
  return rules.map((rule) => {
    if (rule.kind !== 'op') return printRule(rule);
    const text = printRule(expand(rule, service, known.get(rule.operation)));
    connection.io.note(`op:${rule.operation} is ${text}, as the control plane says`);
    return text;
  });
};

const expand = (rule: OpRule, service: string, text: string | undefined): Rule => {
  if (text === undefined) {
    const advice = `\`daypass service operations ${service}\` lists those that it has`;
    throw new UsageError(
      `"op:${rule.operation}": ${service} has no such operation; ${advice}`,
      '--allow',
      'invalid_rule',
    );
  }
  try {
    return expandOp(rule, parseRule(text));
  } catch (cause) {
    if (cause instanceof DaypassError) throw new UsageError(cause.message, '--allow', cause.code);
    throw cause;
  }
};

/** The most that one question names. */
const MAX_IDS = 1000;
