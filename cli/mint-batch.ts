// `daypass mint --batch`: the tokens of a file, minted in one call.
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { DaypassError } from '@daypass/core/errors';
import {
  type JsonValue,
  parseStrictJsonBytes,
  readArray,
  readObject,
  readString,
  readStringArray,
  refuseUnknown,
} from '@daypass/core/json';
import { MintResponseSchema } from '@daypass/sdk/gen/daypass/v1/token_pb';
import { openConnection } from './connection.ts';
import type { With } from './context.ts';
import { durationFlag } from './duration.ts';
import { UsageError } from './failure.ts';
import type { Io } from './io.ts';
import { jsonLine } from './output.ts';
import { readBytes } from './rules-argument.ts';
import { canonicalRules } from './service-flags.ts';

const FLAG = '--batch';
/** What the control plane reads of one message. */
const MAX_BYTES = 4 * 1024 * 1024;

/** What stands in the file for each token. */
const MEMBERS = ['allow', 'ttl', 'client', 'subject', 'dpop_jkt'] as const;

type Options = With<{ readonly service?: string }>;

/**
 * Mints the tokens of a file, all or none, and prints them in its order, one a line.
 * @throws {UsageError} for a file that is no array of tokens, naming the place
 */
export const mintBatch = async (io: Io, file: string, options: Options): Promise<void> => {
  if (options.service === undefined) throw new UsageError('say which service with --service', '--service');
  const tokens = readTokens(await readBytes(file, FLAG, MAX_BYTES));
  const connection = await openConnection(options, io);
  const response = await connection.tokens.mintBatch({ service: options.service, tokens });
  for (const minted of response.tokens) {
    io.out(options.json === true ? jsonLine(MintResponseSchema, minted) : `${minted.token}\n`);
  }
};

const readTokens = (bytes: Uint8Array) => {
  try {
    return readArray(parseStrictJsonBytes(bytes), 'tokens').map((value, index) => readSpec(value, `tokens[${index}]`));
  } catch (error) {
    if (!(error instanceof DaypassError)) throw error;
    throw new UsageError(`${FLAG}: ${error.message}`, FLAG, error.code);
  }
};

const readSpec = (value: JsonValue, where: string) => {
  const object = readObject(value, where);
  refuseUnknown(object, MEMBERS, where);
  const text = (name: (typeof MEMBERS)[number]): string =>
    object[name] === undefined ? '' : readString(object[name], `${where}.${name}`);
  const ttl = text('ttl');
  return {
    allow: [...canonicalRules(readStringArray(object.allow, `${where}.allow`), `${FLAG}, ${where}.allow`)],
    ...{ client: text('client'), subject: text('subject'), dpopJkt: text('dpop_jkt') },
    ...(ttl === '' ? {} : { ttl: durationFromMs(durationFlag(ttl, `${FLAG}, ${where}.ttl`)) }),
  };
};
