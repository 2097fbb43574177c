// Which of several control planes this node talks to: one of them until it fails or falls silent, and then at once the next.
import { Code, ConnectError, type StreamResponse, type Transport } from '@connectrpc/connect';
import type { Log } from './log.ts';
import { SilenceError } from './patient-fetch.ts';

type Deps = {
  /** At least one. */
  readonly origins: readonly string[];
  /** A way to one of them; each call through it shows a fresh assertion. */
  readonly connect: (origin: string) => Transport;
  /** In [0, 1): nodes spread over the control planes, and over those that are left when one goes. */
  readonly random: () => number;
  readonly log: Log;
};

/**
 * A transport over all of them. A call that one cannot answer is made again at the next, each of them once: every call of a
 * node may be repeated. A stream that ends is not taken up here, but the next call goes elsewhere. Nobody goes back by itself.
 */
export function createControlPlanes({ origins, connect, random, log }: Deps): Transport {
  const places = shuffled(origins, random).map((origin) => placeAt(origin, connect(origin)));
  let at = 0;
  let settled: Place | undefined;
  const current = (): Place => {
    const place = places[at];
    if (place === undefined) throw new ConnectError('There is no control plane', Code.Unavailable);
    return place;
  };
  const leave = (place: Place, error: unknown): void => {
    // What waits for an answer of one that is silent would wait for long.
    if (isSilence(error)) place.abandon(error);
    if (place === current()) at = (at + 1) % places.length;
  };
  const settle = (place: Place): void => {
    if (settled !== undefined && settled !== place)
      log.info('another control plane is talked to', { url: place.origin, before: settled.origin });
    settled = place;
  };

  const call = async <T>(signal: AbortSignal | undefined, attempt: Attempt<T>): Promise<T> => {
    for (let tries = 1; ; tries += 1) {
      const place = current();
      const abandoned = place.abandoned();
      try {
        const answer = await attempt(place, signal === undefined ? abandoned : AbortSignal.any([signal, abandoned]));
        settle(place);
        return answer;
      } catch (error) {
        if (signal?.aborted === true || !(abandoned.aborted || isItsFault(error))) throw error;
        leave(place, error);
        // The time of this call is used up.
        if (tries >= places.length || ConnectError.from(error).code === Code.DeadlineExceeded) throw error;
        log.debug('a control plane did not answer; the next is asked', { url: place.origin, error });
      }
    }
  };

  return {
    unary: (method, signal, timeoutMs, header, input, values) =>
      call(signal, ({ transport }, either) => transport.unary(method, either, timeoutMs, header, input, values)),
    stream: async (method, signal, timeoutMs, header, input, values) => {
      const messages = await collect(input);
      return await call(signal, async (place) => {
        const { transport } = place;
        const answer = await transport.stream(method, signal, timeoutMs, header, listOf(messages), values);
        return followed(answer, (error) => {
          if (!isStop(signal)) leave(place, error);
        });
      });
    },
  };
}

type Attempt<T> = (place: Place, signal: AbortSignal) => Promise<T>;

type Place = {
  readonly origin: string;
  readonly transport: Transport;
  /** Aborts when the place is given up, for calls that began before. */
  abandoned(): AbortSignal;
  abandon(reason: unknown): void;
};

function placeAt(origin: string, transport: Transport): Place {
  let ending = new AbortController();
  return {
    origin,
    transport,
    abandoned: () => ending.signal,
    abandon(reason) {
      ending.abort(reason);
      ending = new AbortController();
    },
  };
}

/** Codes that say nothing of the call itself: no connection, a broken one, or a server that is in no state to answer. */
const FAULTS: ReadonlySet<Code> = new Set([
  ...[Code.Unavailable, Code.Unknown, Code.Internal, Code.DataLoss, Code.DeadlineExceeded],
  // Too many watches, or calls, at this one; and what answers there is no control plane.
  ...[Code.ResourceExhausted, Code.Unimplemented],
  // Its clock may be wrong, or its database be an old one: who is enrolled nowhere is told so by all of them.
  Code.Unauthenticated,
]);

const isItsFault = (error: unknown): boolean => FAULTS.has(ConnectError.from(error).code);

/** Whoever gives a stream up for what came of it says why, and is better served elsewhere; whoever just ends it does not. */
const isStop = (signal: AbortSignal | undefined): boolean =>
  signal?.aborted === true && signal.reason instanceof DOMException && signal.reason.name === 'AbortError';

const isSilence = (error: unknown): boolean =>
  error instanceof SilenceError || (error instanceof ConnectError && error.cause instanceof SilenceError);

/** The same answer; `over` is told when its messages end or fail, and not when nobody reads on. */
function followed<I extends StreamResponse['method']['input'], O extends StreamResponse['method']['output']>(
  answer: StreamResponse<I, O>,
  over: (error: unknown) => void,
): StreamResponse<I, O> {
  async function* read() {
    try {
      yield* answer.message;
    } catch (error) {
      over(error);
      throw error;
    }
    over(undefined);
  }
  return { ...answer, message: read() };
}

async function collect<T>(messages: AsyncIterable<T>): Promise<readonly T[]> {
  const all: T[] = [];
  for await (const message of messages) all.push(message);
  return all;
}

async function* listOf<T>(messages: readonly T[]): AsyncGenerator<T> {
  yield* messages;
}

/** Fisher and Yates. */
function shuffled<T>(items: readonly T[], random: () => number): readonly T[] {
  const order = [...items];
  for (let last = order.length - 1; last > 0; last -= 1) {
    const other = Math.floor(random() * (last + 1));
    [order[last], order[other]] = [order[other] as T, order[last] as T];
  }
  return order;
}
