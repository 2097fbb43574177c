// Mints a token: checks caller, label, rules, lifetime and seal, and signs, stores and audits in one transaction.
import { DaypassError } from '@daypass/core/errors';
import type { Aggregates } from '../store/interface.ts';
import { type CallerActor, mayMintFor } from './actor.ts';
import { type CallerCeilings, fieldsOf } from './ceiling.ts';
import type { Changes, Work } from './change.ts';
import { type Issuing, issue, type Minted } from './issue.ts';
import { operationLookup } from './operations.ts';
import { checkMint, type MintInput } from './token-claims.ts';

export type { Minted } from './issue.ts';
export type { MintInput } from './token-claims.ts';

type Deps = Issuing & {
  readonly changes: Changes;
  readonly ceilings: CallerCeilings;
  readonly sealingKids: (pool: string) => ReadonlySet<string> | undefined;
};

const METHOD = 'TokenService/Mint';
/** Refusals that say something of the caller: these are audited. */
export const AUDITED: ReadonlySet<string> = new Set(['permission_denied', 'client_refused']);

/**
 * Makes Mint.
 * @throws {DaypassError} `permission_denied`, `client_refused`, `not_found`, or what is wrong by its field
 */
export const createMint =
  (deps: Deps) =>
  async (caller: CallerActor, input: MintInput): Promise<Minted> => {
    try {
      const { value } = await deps.changes.run(caller, METHOD, (tx, asItIs) => mint(tx, deps, asItIs, input));
      return value;
    } catch (error) {
      if (error instanceof DaypassError && AUDITED.has(error.code)) {
        const { service, client } = input;
        const note = { path: `services/${service}/tokens`, service, client, principal: input.subject };
        await deps.changes.refuse(caller, METHOD, { ...note, reason: error.code });
      }
      throw error;
    }
  };

const mint = async (tx: Aggregates, deps: Deps, caller: CallerActor, input: MintInput): Promise<Work<Minted>> => {
  // Asked before the service is looked up: a caller learns nothing of services that are not its own.
  if (!mayMintFor(caller, input.service)) {
    throw new DaypassError('permission_denied', `may not mint for \`${input.service}\``, { field: 'service' });
  }
  const service = await tx.services.get(input.service);
  if (service === undefined) {
    throw new DaypassError('not_found', `there is no service \`${input.service}\``, { field: 'service' });
  }
  const kids = deps.sealingKids(service.config.pool) ?? new Set();
  const expand = await operationLookup(tx, service.name, input.allow);
  const grant = checkMint(input, caller, service, kids, expand);
  const asked = { rules: grant.allow, fieldOf: fieldsOf(input.allow, 'allow', expand) };
  await deps.ceilings.check(tx, caller, service.name, asked);
  const minted = await issue(tx, deps, { grant, service, caller: caller.name });
  const { row } = minted;
  const note = { path: `tokens/${row.jti}`, jti: row.jti, service: row.service, client: row.client };
  return {
    value: minted,
    // Nodes need not hear of a token before it is revoked.
    pools: [],
    note: { ...note, principal: row.subject },
  };
};
