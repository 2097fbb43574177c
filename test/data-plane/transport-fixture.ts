// The least that a transport server is made with.
import { DEFAULT_LIMITS } from '../../data-plane/limits.ts';
import type { TransportOptions } from '../../data-plane/transport/server.ts';

/** Options of a server that answers nothing by itself. */
export const transportOptions: TransportOptions = {
  ...DEFAULT_LIMITS,
  tls: undefined,
  failureFlow: { burst: 1, perMs: 1 },
  nowMs: Date.now,
  onRequest: () => undefined,
  onWireError: (_error, socket) => socket.destroy(),
  reasonOf: (error) => error,
  onConnect: (socket) => socket.destroy(),
};
