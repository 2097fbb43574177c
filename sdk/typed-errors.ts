// Wraps a transport so that its calls throw DaypassError.
import type { Transport } from '@connectrpc/connect';
import { toDaypassError } from './errors.ts';

/** The same transport; a call that is refused or gets no answer throws a DaypassError with a code of the catalogue. */
export function withTypedErrors(transport: Transport): Transport {
  return {
    unary: async (...call) => await typed(() => transport.unary(...call)),
    stream: async (...call) => {
      const response = await typed(() => transport.stream(...call));
      return { ...response, message: typedMessages(response.message) };
    },
  };
}

async function typed<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw toDaypassError(error);
  }
}

async function* typedMessages<T>(messages: AsyncIterable<T>): AsyncIterable<T> {
  try {
    yield* messages;
  } catch (error) {
    throw toDaypassError(error);
  }
}
