// Who asks: what authentication made of a request, and what the domain's rules look at.

/** A holder of an API key. */
export type CallerActor = {
  readonly kind: 'caller';
  readonly name: string;
  readonly admin: boolean;
  /** Services that it may mint for; an admin may mint for all. */
  readonly services: readonly string[];
  readonly createdAt: number;
};

/** A data-plane node that proved its own key. */
export type NodeActor = { readonly kind: 'node'; readonly name: string; readonly pool: string };

/** Who asks; `anyone` showed nothing. */
export type Actor = CallerActor | NodeActor | { readonly kind: 'anyone' };

/** Whether a caller may mint for a service. */
export const mayMintFor = (caller: CallerActor, service: string): boolean =>
  caller.admin || caller.services.includes(service);

/** Whether a token is the caller's to see and to end: not those of an earlier caller that had its name. */
export const ownsToken = (
  caller: CallerActor,
  token: { readonly caller: string; readonly createdAt: number },
): boolean => caller.admin || (token.caller === caller.name && token.createdAt >= caller.createdAt);
