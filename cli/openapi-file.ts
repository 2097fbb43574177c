// An OpenAPI document from a file: read, compiled to operations, and told of in words.
import { create, toBinary } from '@bufbuild/protobuf';
import { DaypassError } from '@daypass/core/errors';
import { type CompiledOpenApi, compileOpenApi, type OperationNote } from '@daypass/core/openapi';
import { ServiceSchema } from '@daypass/sdk/gen/daypass/v1/service_pb';
import { parse } from 'yaml';
import { UsageError } from './failure.ts';
import type { Io } from './io.ts';
import { readBytes } from './rules-argument.ts';

const FLAG = '--openapi';
const MAX_JSON_BYTES = 100_000_000;
/** YAML takes some twenty times longer to read. */
const MAX_YAML_BYTES = 32_000_000;
/** The control plane reads messages of 4 MiB; the rest of a service has to fit in as well. */
const MAX_OPERATIONS_BYTES = 4 * 1024 * 1024 - 64 * 1024;

/** The operations of a document in JSON or YAML. @throws UsageError naming the file and what is wrong with it */
export const readOpenApi = async (file: string): Promise<CompiledOpenApi> => {
  const compiled = compile(file, await readDocument(file));
  if (compiled.operations.length === 0) {
    const [first] = compiled.skipped;
    const why = first === undefined ? 'it has none' : `as in ${first.id}: ${first.reason}`;
    throw new UsageError(`${FLAG}: no operation of ${file} can be used; ${why}`, FLAG);
  }
  const bytes = toBinary(ServiceSchema, create(ServiceSchema, { operations: [...compiled.operations] })).length;
  if (bytes <= MAX_OPERATIONS_BYTES) return compiled;
  throw new UsageError(
    `${FLAG}: the ${compiled.operations.length} operations of ${file} come to ${bytes} bytes, and the control plane takes ${MAX_OPERATIONS_BYTES}; leave out what nobody needs`,
    FLAG,
  );
};

const readDocument = async (file: string): Promise<unknown> => {
  const text = decode(file, await readBytes(file, FLAG, MAX_JSON_BYTES));
  const isJson = !/\.ya?ml$/i.test(file) && /^\s*\{/.test(text);
  if (!isJson && text.length > MAX_YAML_BYTES) {
    throw new UsageError(`${FLAG}: ${file} is larger than ${MAX_YAML_BYTES} bytes, which YAML may have`, FLAG);
  }
  try {
    // An alias that stands for very much is refused by the reader (`maxAliasCount`).
    return isJson ? JSON.parse(text) : parse(text, { logLevel: 'error' });
  } catch (cause) {
    const why = cause instanceof Error ? (cause.message.split('\n')[0] ?? '') : 'unknown reason';
    throw new UsageError(`${FLAG}: ${file} is no ${isJson ? 'JSON' : 'YAML'}: ${why.slice(0, 200)}`, FLAG);
  }
};

const decode = (file: string, bytes: Uint8Array): string => {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new UsageError(`${FLAG}: ${file} is not UTF-8 text`, FLAG);
  }
};

const compile = (file: string, document: unknown): CompiledOpenApi => {
  try {
    return compileOpenApi(document);
  } catch (cause) {
    if (cause instanceof DaypassError) throw new UsageError(`${FLAG}: ${file}: ${cause.message}`, FLAG);
    throw cause;
  }
};

/** Notes what became of a document for a service with this upstream. */
export const noteOpenApi = (io: Pick<Io, 'note'>, file: string, compiled: CompiledOpenApi, upstream: string): void => {
  const { operations, skipped, notes, servers } = compiled;
  const lines = skipped.map(({ id, reason }) => `\n  ${id}: ${reason}`);
  const all = operations.length + skipped.length;
  io.note(
    `${operations.length} of ${all} operations of ${file} were compiled${lines.length === 0 ? '' : `; ${lines.length} not:`}${lines.join('')}`,
  );
  for (const [kind, text] of Object.entries(TEXTS) as [OperationNote['kind'], string][]) {
    const some = notes.filter((note) => note.kind === kind);
    if (some.length > 0) io.note(`operations that ${text} (${some.length}): ${listText(some)}`);
  }
  const base = basePathOf(upstream);
  if (servers.some((server) => basePathOf(server) === base)) return;
  const places = servers.map((server) => `"${server === '' ? '/' : server}"`).join(', ');
  io.note(
    `the paths of ${file} begin at ${places}, and those of the service at ${upstream}: if its upstream is not the same place, the rules fit no request`,
  );
};

const TEXTS: Readonly<Record<OperationNote['kind'], string>> = {
  many: 'end in `**`, where a value with slashes may stand',
  one: 'stand for one segment where a value with slashes may stand, since more would take in other operations',
  pattern: 'are `~` rules, which take no conditions',
  also: 'take in requests of others, whose paths have a text where they have a parameter; a condition on path. narrows them',
};

const MAX_LISTED = 50;

const listText = (notes: readonly OperationNote[]): string => {
  const listed = notes
    .slice(0, MAX_LISTED)
    .map(({ id, kind, others }) => (kind === 'also' ? `${id} (${others[0]})` : id));
  const more = notes.length - listed.length;
  return listed.join(', ') + (more > 0 ? ` and ${more} more` : '');
};

/** Of a URL, or of a path alone. */
const basePathOf = (server: string): string => {
  const path = URL.canParse(server) ? new URL(server).pathname : server;
  return `/${path}`.replace(/^\/+/, '/').replace(/(?<!\/)\/+$/, '');
};
