// The outermost layer of every RPC: maps what was thrown, logs what nobody expected once, and says "internal" to the caller.

import type { DescMethod } from '@bufbuild/protobuf';
import type { ConnectRouterOptions, Interceptor } from '@connectrpc/connect';
import { toConnectError } from './errors.ts';

/** Hears of an error that the code did not expect. */
export type LogUnexpected = (method: string, error: unknown) => void;

type Gate = NonNullable<ConnectRouterOptions['requestGate']>;

/** Makes the interceptor; it stands first in the list. */
export const createErrorInterceptor =
  (log: LogUnexpected): Interceptor =>
  (next) =>
  async (request) => {
    try {
      const response = await next(request);
      return response.stream ? { ...response, message: mapped(response.message, request.method, log) } : response;
    } catch (thrown) {
      throw report(thrown, request.method, log);
    }
  };

/** The same for the gate, which runs before the interceptors. */
export const guardGate =
  (gate: Gate, log: LogUnexpected): Gate =>
  async (context) => {
    try {
      await gate(context);
    } catch (thrown) {
      throw report(thrown, context.method, log);
    }
  };

const mapped = async function* <T>(
  messages: AsyncIterable<T>,
  method: DescMethod,
  log: LogUnexpected,
): AsyncGenerator<T> {
  try {
    yield* messages;
  } catch (thrown) {
    throw report(thrown, method, log);
  }
};

const report = (thrown: unknown, method: DescMethod, log: LogUnexpected) => {
  const { error, unexpected } = toConnectError(thrown);
  if (unexpected) log(`${method.parent.typeName}/${method.name}`, thrown);
  return error;
};
