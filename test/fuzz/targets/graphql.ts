// Fuzzes the reader of GraphQL documents against the `graphql` package: what is read is what that would run.

import { DaypassError } from '@daypass/core/errors';
import { readGraphqlCall } from '@daypass/core/graphql-request';
import { type DocumentNode, Kind, parse, type SelectionSetNode } from 'graphql';
import { type FuzzTarget, targetOf } from '../engine.ts';
import { must } from '../must.ts';
import { mutateText, type Random, type Words } from '../mutator.ts';

type Call = NonNullable<ReturnType<typeof readGraphqlCall>>;

const read = (query: string): Call => {
  const call = readGraphqlCall({ query });
  if (call === undefined) throw new DaypassError('scope_refused', 'not a document with one reading');
  return call;
};

/** Root fields by name, fragments in place, each fragment once. */
const rootFields = (document: DocumentNode): readonly string[] => {
  const seen = new Set<string>();
  const names: string[] = [];
  const visit = ({ selections }: SelectionSetNode): void => {
    for (const selection of selections) {
      must((selection.directives ?? []).length === 0, 'a directive at the root');
      if (selection.kind === Kind.FIELD) names.push(selection.name.value);
      else if (selection.kind === Kind.INLINE_FRAGMENT) visit(selection.selectionSet);
      else if (!seen.has(selection.name.value)) {
        seen.add(selection.name.value);
        visit(fragment(document, selection.name.value));
      }
    }
  };
  for (const one of document.definitions) if (one.kind === Kind.OPERATION_DEFINITION) visit(one.selectionSet);
  return names;
};

const fragment = (document: DocumentNode, name: string): SelectionSetNode => {
  const all = document.definitions.flatMap((one) =>
    one.kind === Kind.FRAGMENT_DEFINITION && one.name.value === name ? [one] : [],
  );
  const [only] = all;
  must(only !== undefined && all.length === 1, 'a fragment that is not there once');
  return only.selectionSet;
};

/** Checks by the package take long for documents that are larger. */
const SMALL = 8192;

const check = (query: string, call: Call): string => {
  if (query.length > SMALL) return 'large';
  let document: DocumentNode;
  try {
    document = parse(query, { noLocation: true });
  } catch (error) {
    throw new Error(`read what the package refuses: ${error instanceof Error ? error.message : ''}`);
  }
  const operations = document.definitions.filter((one) => one.kind === Kind.OPERATION_DEFINITION);
  must(operations.length === 1 && operations[0]?.operation === call.operation, 'another operation');
  const names = rootFields(document);
  must(names.join() === call.fields.map(({ name }) => name).join(), `the root fields are ${names.join()}`);
  const given = call.fields.reduce((sum, { args }) => sum + Object.keys(args).length, 0);
  return `${call.operation} with ${Math.min(names.length, 9)} fields, ${Math.min(given, 9)} arguments`;
};

/** As much as fits of one thing. */
const make = (random: Random, text: string, words: Words): string => {
  if (!random.onceIn(2000)) return mutateText(random, text, words);
  const piece = random.pick([
    ',',
    '#\n',
    '\\',
    '\\n',
    '\\"""',
    '" ',
    '\\u0061',
    'a ',
    '...F ',
    '[',
    '{a',
    'a:1 ',
    '@d ',
    '$v ',
    '1',
  ]);
  const [before, after] = random.pick([
    ['{', 'a}'],
    ['{a(s:"', '")}'],
    ['{a(s:"""', '""")}'],
    ['{a(s:', ')}'],
    ['query(', '){a}'],
  ]);
  return before + piece.repeat(Math.floor(words.maxLength / piece.length) - 20) + after;
};

/** GraphQL documents. */
export const graphql: FuzzTarget = targetOf<Call>({
  name: 'graphql',
  input: 'text',
  dictionary: [
    ...[
      '{',
      '}',
      '(',
      ')',
      '[',
      ']',
      ':',
      '!',
      '$',
      '@',
      '=',
      '...',
      '... on T',
      '...F',
      '|',
      '&',
      ',',
      ' ',
      '\n',
      '\r',
      '\t',
    ],
    ...[
      'query',
      'mutation',
      'subscription',
      'fragment F on T {a}',
      'on',
      'true',
      'null',
      'a',
      'b',
      '$v',
      '$v: Int = 1',
    ],
    ...[
      '"',
      '"""',
      '\\"""',
      '\\u0041',
      '\\ud800',
      '\\n',
      '# c\n',
      '#',
      '1',
      '-1',
      '1.5e3',
      '0x1',
      '01',
      '1a',
      '@skip(if: $v)',
    ],
    ...[
      'a(x: 1)',
      'b: a',
      '__schema',
      '{a: 1}',
      '[1, $v]',
      '\ufeff',
      '\u00a0',
      '\u2028',
      '\u0000',
      'extend',
      'type T {a: B}',
    ],
  ],
  maxLength: 1_048_576,
  codes: ['scope_refused'],
  make,
  read,
  check,
});
