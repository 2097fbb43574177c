// A fetch that ends when nothing comes for too long, where a control plane should have something to say at once: one that is frozen hangs nobody up.

type Fetch = typeof globalThis.fetch;

/** A control plane sends a heartbeat each 1.5 s; three may be late or lost. */
export const SILENCE_MS = 5_000;

/** Nothing came in time. */
export class SilenceError extends Error {
  override readonly name = 'SilenceError';
}

/**
 * Ends the answer to a streaming call (https://connectrpc.com/docs/protocol#streaming-request), or to Get, when its head, or the
 * next of its bytes, has not come within `silenceMs` of being waited for. Bytes count, not messages: a large one may take long,
 * and so may whoever reads it. Calls that write may wait for a database: they have timeouts of their own.
 */
export function patientFetch(fetch: Fetch, silenceMs: number): Fetch {
  return async (input, init) => {
    if (!isStream(init) && !isGet(input)) return fetch(input, init);
    const silence = new AbortController();
    const heard = async <T>(work: Promise<T>): Promise<T> => {
      const why = `The control plane said nothing for ${silenceMs} ms`;
      const timer = setTimeout(() => silence.abort(new SilenceError(why)), silenceMs).unref();
      try {
        return await work;
      } catch (error) {
        silence.signal.throwIfAborted();
        throw error;
      } finally {
        clearTimeout(timer);
      }
    };
    const signal = init?.signal ? AbortSignal.any([init.signal, silence.signal]) : silence.signal;
    const response = await heard(fetch(input, { ...init, signal }));
    if (response.body === null) return response;
    const reader = response.body.getReader();
    const body = new ReadableStream<Uint8Array>(
      {
        async pull(controller) {
          const { done, value } = await heard(reader.read());
          if (done) controller.close();
          else controller.enqueue(value);
        },
        cancel: (reason) => reader.cancel(reason),
      },
      // Nothing is waited for that nobody asks for.
      { highWaterMark: 0 },
    );
    const { status, statusText, headers } = response;
    return new Response(body, { status, statusText, headers });
  };
}

const isStream = (init: RequestInit | undefined): boolean =>
  new Headers(init?.headers).get('content-type')?.startsWith('application/connect+') ?? false;

const isGet = (input: Parameters<Fetch>[0]): boolean => `${input}`.endsWith('/daypass.v1.SnapshotService/Get');
