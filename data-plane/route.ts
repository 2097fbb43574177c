// The route: which service a request is for, and which target of it.
import { parseTarget, type Target, targetUnder } from '@daypass/core/target';
import type { ActiveSnapshot } from './active.ts';
import type { ActiveService } from './active-service.ts';
import type { Head } from './wire.ts';

declare const routed: unique symbol;

/** Where a request goes. Only `routeRequest` makes one. */
export type Route = {
  readonly snapshot: ActiveSnapshot;
  /** Undefined when there is no such service, which only a request with a token may learn. */
  readonly service: ActiveService | undefined;
  /** The service's target: what rules are compared with and what is sent. */
  readonly target: Target;
  /** What came before it: `/s/<service>`, or nothing for the default service. */
  readonly prefix: string;
  readonly [routed]: true;
};

/**
 * Finds the service of `/s/<service>/<path>`, or the default service of any other path. Throws `target_ambiguous` for an
 * encoded slash where the service does not allow them.
 */
export function routeRequest(snapshot: ActiveSnapshot, head: Head): Route {
  const { target } = head;
  const name = serviceName(target.path);
  const service = name === undefined ? snapshot.defaultService : snapshot.services.get(name);
  if (service?.config.encoded_slashes !== true) refuseEncodedSlashes(target);
  if (name === undefined) return make(snapshot, service, target, '');
  const prefix = `/s/${name}`;
  const under = targetUnder(target, prefix) ?? parseTarget(target.query === undefined ? '/' : `/?${target.query}`);
  return make(snapshot, service, under, prefix);
}

// An encoded slash is all that the head was read more leniently for.
function refuseEncodedSlashes({ path, raw }: Target): void {
  if (/%2f/i.test(path)) parseTarget(raw);
}

/** The second segment of a path that starts with `/s/`. */
function serviceName(path: string): string | undefined {
  if (!path.startsWith('/s/')) return undefined;
  const slash = path.indexOf('/', 3);
  return slash < 0 ? path.slice(3) : path.slice(3, slash);
}

const make = (snapshot: ActiveSnapshot, service: ActiveService | undefined, target: Target, prefix: string): Route =>
  ({ snapshot, service, target, prefix }) as unknown as Route;
