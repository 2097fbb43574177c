// One JSON line a log event; a log never gets a token, a credential, a header value or a query.
import { DaypassError } from '@daypass/core/errors';
import { printableJson } from '@daypass/core/printable-json';

const LEVELS = ['debug', 'info', 'warn', 'error'] as const;
const TEXT_MAX = 2048;
const DEPTH_MAX = 3;

/** From the most talkative to the most quiet. */
export type LogLevel = (typeof LEVELS)[number];

/** What a log event says beside its message. An `error` is written as code, message and cause. */
export type LogFields = Readonly<Record<string, unknown>>;

/** Writes log events; never throws. */
export type Log = Readonly<Record<LogLevel, (message: string, fields?: LogFields) => void>>;

/** Whether a text names a level. */
export const isLogLevel = (text: string): text is LogLevel => LEVELS.some((level) => level === text);

/** Whether a level is as quiet as another one, or quieter. */
export const isAtLeast = (level: LogLevel, least: LogLevel): boolean => LEVELS.indexOf(level) >= LEVELS.indexOf(least);

/** Returns a log that gives `write` one line, newline included, for each event at `level` or above. */
export function createLog(level: LogLevel, write: (line: string) => void, now: () => number = Date.now): Log {
  const emit = (at: LogLevel) => (message: string, fields: LogFields) =>
    write(`${printableJson({ time: new Date(now()).toISOString(), level: at, message, ...plainFields(fields) })}\n`);
  const at = (wanted: LogLevel) => {
    if (!isAtLeast(wanted, level)) return () => {};
    const line = emit(wanted);
    return (message: string, fields: LogFields = {}) => {
      try {
        line(message, fields);
      } catch {
        // A log that cannot be written must not end a request.
      }
    };
  };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

/** The fields as they are written: plain data, which can be handed to another thread. */
export function plainFields(fields: LogFields): LogFields {
  const entries = Object.entries(fields).map(([name, value]) => [name, showValue(value)] as const);
  return Object.fromEntries(entries);
}

function showValue(value: unknown): unknown {
  if (value instanceof Error) return showError(value, DEPTH_MAX);
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'string') return value.slice(0, TEXT_MAX);
  return value;
}

function showError(error: Error, depth: number): LogFields {
  const code = error instanceof DaypassError ? error.code : Reflect.get(error, 'code');
  return {
    name: error.name,
    ...(typeof code === 'string' || typeof code === 'number' ? { code } : {}),
    message: error.message.slice(0, TEXT_MAX),
    // One without a code is nothing that was foreseen.
    ...(code === undefined && depth === DEPTH_MAX ? { stack: error.stack?.slice(0, TEXT_MAX) } : {}),
    ...(error.cause instanceof Error && depth > 0 ? { cause: showError(error.cause, depth - 1) } : {}),
  };
}
