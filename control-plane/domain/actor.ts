// Who asks: what authentication made of a request, and what the domain's rules look at.
import type { CallerRow } from '../store/interface.ts';

/** A holder of an API key: its row, without the hash of the key. An admin may mint for all services. */
export type CallerActor = Omit<CallerRow, 'keyHash'> & { readonly kind: 'caller' };

/** A data-plane node that proved its own key. */
export type NodeActor = { readonly kind: 'node'; readonly name: string; readonly pool: string };

/** Who asks; `anyone` showed nothing. */
export type Actor = CallerActor | NodeActor | { readonly kind: 'anyone' };

/** The actor that a caller's row stands for. */
export const callerActor = ({ keyHash: _, ...row }: CallerRow): CallerActor => ({ kind: 'caller', ...row });

/** Whether a caller may mint for a service. */
export const mayMintFor = (caller: CallerActor, service: string): boolean =>
  caller.admin || caller.services.includes(service);

/** Whether a token is the caller's to see and to end: not those of an earlier caller that had its name. */
export const ownsToken = (
  caller: CallerActor,
  token: { readonly caller: string; readonly createdAt: number },
): boolean => caller.admin || (token.caller === caller.name && token.createdAt >= caller.createdAt);
