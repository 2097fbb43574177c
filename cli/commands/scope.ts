// `daypass scope`: rules tried out offline, by the very code that decides in the data plane.
import { isRequestFieldDropped } from '@daypass/core/dropped-fields';
import { DaypassError, type ErrorCode } from '@daypass/core/errors';
import { isMethod, NEVER_FORWARDED } from '@daypass/core/method';
import { OVERRIDE_KEYS, withoutKeys } from '@daypass/core/query-keys';
import { readContentHeaders, readJsonBody } from '@daypass/core/request-body';
import { RequestDetails } from '@daypass/core/request-details';
import type { Rule } from '@daypass/core/rule';
import type { Clause } from '@daypass/core/rule-covers';
import { diff } from '@daypass/core/rule-diff';
import { refusingClause } from '@daypass/core/rule-explain';
import { clauseText } from '@daypass/core/rule-gap-text';
import { compileRules, matchRules, needsBody } from '@daypass/core/rule-match';
import { printRule } from '@daypass/core/rule-print';
import { parseTarget } from '@daypass/core/target';
import { Command } from 'commander';
import { type Context, collect, examples, type With } from '../context.ts';
import { UsageError } from '../failure.ts';
import { printable } from '../output.ts';
import { readBytes, readRules, rulesArgument } from '../rules-argument.ts';
import { changeJson, changeText, clauseJson } from '../scope-text.ts';

type CheckOptions = With<{
  readonly body?: string;
  readonly header?: readonly string[];
  readonly encodedSlashes?: boolean;
}>;

/** The command and its subcommands. */
export const scopeCommand = (context: Context): Command =>
  new Command('scope')
    .description('try rules out offline')
    .addCommand(checkCommand(context))
    .addCommand(diffCommand(context));

const checkCommand = (context: Context): Command =>
  examples(
    new Command('check')
      .description('whether a rule allows a request, and which of its clauses decides; exit code 1 if it does not')
      .argument('<rule>', 'the rule')
      .argument('<method>', "the request's method, as it is sent")
      .argument('<url>', "the request's URL, or its path and query")
      .option('--body <file>', 'a file with the request body')
      .option('--header <line>', "a header field, as in 'Accept: application/json' (repeatable)", collect)
      .option('--encoded-slashes', 'as for a service that lets %2F stand in a segment')
      .action((rule: string, method: string, url: string, _options: unknown, self: Command) =>
        check(context, rule, method, url, self.optsWithGlobals()),
      ),
    "daypass scope check 'GET /repos/acme/{repo}/issues' GET https://api.github.com/repos/acme/site/issues",
    'daypass scope check \'POST /labels where body.name in ["bug"]\' POST /labels --body label.json',
  );

const diffCommand = (context: Context): Command =>
  examples(
    new Command('diff')
      .description('what new rules widen and narrow, with a request for each; exit code 1 if they widen')
      .argument('<old>', 'a rule, or a file with one a line')
      .argument('<new>', 'the same')
      .action((before: string, after: string, _options: unknown, self: Command) =>
        compare(context, before, after, self.optsWithGlobals()),
      ),
    "daypass scope diff 'GET /repos/acme/*/issues' 'GET /repos/acme/*/issues/**'",
    'daypass scope diff old-rules.txt new-rules.txt --json',
  );

/** The answer to a request. */
type Answer =
  | { readonly allowed: true; readonly rule: string }
  | {
      readonly allowed: false;
      readonly code: ErrorCode;
      readonly message: string;
      readonly clause?: Clause;
      /** Why no rule could look into the body. */
      readonly problem?: string;
    };

type Sent = {
  readonly method: string;
  readonly url: string;
  readonly fields: ReadonlyMap<string, readonly string[]>;
  readonly body: Uint8Array | undefined;
};

const check = async (context: Context, text: string, method: string, url: string, options: CheckOptions) => {
  const { io } = context;
  const [rule] = readRules([text], 'rule');
  if (rule === undefined) throw new UsageError('a rule is needed', 'rule');
  const fields = fieldsOf(options.header ?? []);
  const body = options.body === undefined ? undefined : await readBytes(options.body, '--body', MAX_BODY_READ);
  if (body !== undefined && !fields.has('content-type')) {
    fields.set('content-type', ['application/json']);
    io.note('the body is taken for application/json (--header says otherwise)');
  }
  const answer = answerTo(rule, { method, url, fields: forwarded(fields), body }, options.encodedSlashes === true);
  for (const note of notesOn(rule, method, url)) io.note(note);
  io.out(options.json === true ? `${JSON.stringify(answerJson(answer))}\n` : answerText(rule, answer));
  if (!answer.allowed) context.exit(1);
};

/** What a person may have meant otherwise. */
const notesOn = (rule: Rule, method: string, url: string): readonly string[] => {
  const notes: string[] = [];
  if (rule.kind === 'op')
    notes.push(
      `what op:${rule.operation} stands for, its service knows: daypass service operations NAME --grep ${rule.operation}`,
    );
  if (rule.kind === 'scope')
    notes.push(`what scope:${rule.name} holds, its service knows: daypass service get NAME; check those rules instead`);
  if (!isMethod(method) && isMethod(method.toUpperCase()))
    notes.push(`methods are compared as they are sent: ${method.toUpperCase()} is another one than ${method}`);
  if (!targetOf(url).startsWith('/')) notes.push('a URL begins with https:// or http://, and a path with a slash');
  return notes;
};

/** The body that rules look into at most, as in the data plane. */
const MAX_RULE_BODY = 1024 * 1024;
const MAX_BODY_READ = 64 * 1024 * 1024;

/** They never go upstream, and so no rule sees them. */
const DROPPED_KEYS: ReadonlySet<string> = new Set(OVERRIDE_KEYS);

// In the order of the data plane: the method, the target, the rule; the body only if the rule asks for it.
const answerTo = (rule: Rule, sent: Sent, encodedSlashes: boolean): Answer => {
  const { method, fields, body } = sent;
  if (NEVER_FORWARDED.has(method) || !isMethod(method)) {
    return { allowed: false, code: 'method_refused', message: `${method} is no method that is ever forwarded` };
  }
  let target: ReturnType<typeof parseTarget>;
  try {
    target = parseTarget(targetOf(sent.url), { encodedSlashes });
  } catch (error) {
    if (!(error instanceof DaypassError)) throw error;
    return { allowed: false, code: error.code, message: error.message };
  }
  const query = target.query === undefined ? undefined : withoutKeys(target.query, DROPPED_KEYS);
  const head = new RequestDetails({ query, header: (name) => fields.get(name) ?? [] });
  const rules = compileRules([rule]);
  const allowing = matchRules(rules, method, target.path, undefined, head);
  if (allowing !== undefined) return { allowed: true, rule: allowing };
  const isOpen = needsBody(rules, method, target.path, undefined, head);
  if (isOpen && body !== undefined && body.length > MAX_RULE_BODY) {
    return { allowed: false, code: 'body_too_large', message: `rules look into ${MAX_RULE_BODY} bytes at most` };
  }
  const { make, problem } = detailsOf(query, sent);
  const clause = refusingClause(rule, method, target.path, make);
  if (clause === undefined) return { allowed: true, rule: printRule(rule) };
  const why = isOpen && problem !== '' ? { problem } : {};
  return { allowed: false, code: 'scope_refused', message: 'the rule does not allow this request', clause, ...why };
};

/** Makes what rules see of the request, the body read anew each time; and says why they cannot look into it. */
const detailsOf = (query: string | undefined, { fields, body }: Sent) => {
  const header = (name: string): readonly string[] => fields.get(name) ?? [];
  const read = readContentHeaders({ type: header('content-type'), encoding: header('content-encoding') });
  const bare = () => new RequestDetails({ query, header });
  if (body === undefined) return { make: bare, problem: 'it has no body' };
  if ('problem' in read) return { make: bare, problem: read.problem };
  const make = (): RequestDetails => {
    const details = bare();
    details.body = readJsonBody(read.mediaType, body);
    return details;
  };
  try {
    make();
    return { make, problem: '' };
  } catch (error) {
    if (!(error instanceof DaypassError)) throw error;
    return { make: bare, problem: `its body is not strict JSON: ${error.message}` };
  }
};

// Cut out as it stands: a URL parser would repair what the data plane refuses.
const targetOf = (url: string): string => {
  const origin = /^https?:\/\/[^/?#]*/i.exec(url)?.[0] ?? '';
  const target = url.slice(origin.length);
  return origin !== '' && (target === '' || target.startsWith('?')) ? `/${target}` : target;
};

const FIELD = /^([A-Za-z0-9-]+):([\t -~]*)$/;

const fieldsOf = (lines: readonly string[]): Map<string, readonly string[]> => {
  const fields = new Map<string, readonly string[]>();
  for (const line of lines) {
    const [, name = '', value = ''] = FIELD.exec(line) ?? [];
    if (name === '') throw new UsageError('--header takes NAME: VALUE', '--header');
    const key = name.toLowerCase();
    fields.set(key, [...(fields.get(key) ?? []), value.trim()]);
  }
  return fields;
};

/** Without what ends at the proxy (RFC 9110 §7.6.1): rules do not see it. */
const forwarded = (fields: ReadonlyMap<string, readonly string[]>): ReadonlyMap<string, readonly string[]> => {
  const listed = (fields.get('connection') ?? []).flatMap((value) => value.toLowerCase().split(','));
  const ends = new Set(listed.map((name) => name.trim()));
  return new Map([...fields].filter(([name]) => !ends.has(name) && !isRequestFieldDropped(name)));
};

const answerJson = (answer: Answer): object => {
  if (answer.allowed) return answer;
  const { clause, ...rest } = answer;
  return clause === undefined ? rest : { ...rest, clause: clauseJson(clause) };
};

const answerText = (rule: Rule, answer: Answer): string => {
  if (answer.allowed) return `Allowed by ${printable(answer.rule)}\n`;
  const { code, message, clause, problem } = answer;
  if (clause === undefined) return `Refused before any rule is looked at: ${printable(message)} [${code}]\n`;
  const why = problem === undefined ? '' : `; ${problem}`;
  return `Refused by ${printable(printRule(rule))}\n    decided by: ${printable(clauseText(clause) + why)} [${code}]\n`;
};

const compare = async (context: Context, before: string, after: string, options: With<object>): Promise<void> => {
  const { io } = context;
  const [old, now] = [await rulesArgument(before, 'old'), await rulesArgument(after, 'new')];
  const { widens, narrows, isCut } = diff(old, now);
  const result = verdict(widens.length > 0, narrows.length > 0);
  if (isCut) io.note('there are more changes than are shown');
  if (options.json === true) {
    io.out(`${JSON.stringify({ result, widens: widens.map(changeJson), narrows: narrows.map(changeJson), isCut })}\n`);
  } else {
    const changes = [
      ...widens.map((change) => changeText('+', change)),
      ...narrows.map((change) => changeText('-', change)),
    ];
    for (const text of changes) io.out(text.split('\n').map(printable).join('\n'));
    io.out(`The new rules are ${result === 'both' ? 'wider and narrower' : result}.\n`);
  }
  if (widens.length > 0) context.exit(1);
};

const verdict = (widens: boolean, narrows: boolean): 'equal' | 'wider' | 'narrower' | 'both' => {
  if (widens) return narrows ? 'both' : 'wider';
  return narrows ? 'narrower' : 'equal';
};
