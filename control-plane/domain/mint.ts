// Mints tokens: checks caller, label, rules, lifetime and seal, and signs, stores and audits in one transaction.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { DaypassError } from '@daypass/core/errors';
import type { Aggregates, ServiceRow } from '../store/interface.ts';
import { type CallerActor, mayMintFor } from './actor.ts';
import { type CallerCeilings, type Effort, fieldsOf, mintEffort } from './ceiling.ts';
import type { Changes, Note, Work } from './change.ts';
import { type Issuing, issue, type Minted, type NameGrant } from './issue.ts';
import { operationLookup } from './operations.ts';
import { checkSealKey } from './seal-form.ts';
import { checkMint, type Grant, type MintInput } from './token-claims.ts';

export type { Minted } from './issue.ts';
export type { MintInput } from './token-claims.ts';

/** What a caller asks of MintBatch: tokens of one service. */
export type MintBatchInput = { readonly service: string; readonly tokens: readonly Omit<MintInput, 'service'>[] };

type Deps = Issuing & {
  readonly changes: Changes;
  readonly ceilings: CallerCeilings;
  readonly sealingKids: (pool: string) => ReadonlySet<string> | undefined;
};

/** Refusals that say something of the caller: these are audited. */
export const AUDITED: ReadonlySet<string> = new Set(['permission_denied', 'client_refused']);

/** Rules of all tokens of a batch. */
const BATCH_RULES_MAX = 1000;
/** The loop gets its turn after so many rules. */
const TURN_RULES = 50;

/**
 * Makes Mint.
 * @throws {DaypassError} `permission_denied`, `client_refused`, `not_found`, or what is wrong by its field
 */
export const createMint =
  (deps: Deps) =>
  async (caller: CallerActor, input: MintInput): Promise<Minted> => {
    const asked = { method: 'TokenService/Mint', service: input.service, inputs: [input], prefix: () => '' };
    const [minted] = await mintAll(deps, caller, asked);
    if (minted === undefined) throw new DaypassError('internal', 'No token was minted');
    return minted;
  };

/**
 * Makes MintBatch: all tokens in one transaction, or none.
 * @throws {DaypassError} as Mint does, the field with the token's place in front: `tokens[3].ttl`
 */
export const createMintBatch =
  (deps: Deps) =>
  async (caller: CallerActor, { service, tokens }: MintBatchInput): Promise<readonly Minted[]> => {
    const rules = tokens.reduce((sum, { allow }) => sum + allow.length, 0);
    if (rules > BATCH_RULES_MAX) {
      const message = `hold ${rules} rules of at most ${BATCH_RULES_MAX}; put them in a named scope`;
      throw new DaypassError('invalid_argument', message, { field: 'tokens' });
    }
    const inputs = tokens.map((token) => ({ ...token, service }));
    const prefix = (index: number): string => `tokens[${index}].`;
    return mintAll(deps, caller, { method: 'TokenService/MintBatch', service, inputs, prefix });
  };

type Asked = {
  readonly method: string;
  readonly service: string;
  readonly inputs: readonly MintInput[];
  /** What stands before the field of an error of one of the inputs. */
  readonly prefix: (index: number) => string;
};

const mintAll = async (deps: Deps, caller: CallerActor, asked: Asked): Promise<readonly Minted[]> => {
  const { method, service, inputs, prefix } = asked;
  let at = 0;
  const named = async <T>(index: number, work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      at = index;
      throw error instanceof DaypassError ? withPrefix(error, prefix(index)) : error;
    }
  };
  try {
    const { value } = await deps.changes.run(caller, method, (tx, asItIs) => mint(tx, deps, asItIs, asked, named));
    return value;
  } catch (error) {
    if (error instanceof DaypassError && AUDITED.has(error.code)) {
      const { client = '', subject: principal = '' } = inputs[at] ?? {};
      const note = { path: `services/${service}/tokens`, service, client, principal };
      await deps.changes.refuse(caller, method, { ...note, reason: error.code });
    }
    throw error;
  }
};

const withPrefix = (error: DaypassError, prefix: string): DaypassError => {
  if (prefix === '' || error.field === undefined) return error;
  const { code, message, column } = error;
  const field = `${prefix}${error.field}`;
  return new DaypassError(code, message, { field, cause: error, ...(column === undefined ? {} : { column }) });
};

const mint = async (
  tx: Aggregates,
  deps: Deps,
  caller: CallerActor,
  asked: Asked,
  named: NameGrant,
): Promise<Work<readonly Minted[]>> => {
  const service = await readService(tx, caller, asked.service);
  const grants: Grant[] = [];
  const effort = mintEffort();
  let turn = TURN_RULES;
  for (const [index, input] of asked.inputs.entries()) {
    grants.push(await named(index, () => check(tx, deps, caller, service, input, effort)));
    turn -= input.allow.length;
    if (turn > 0) continue;
    await nextTurn();
    turn = TURN_RULES;
  }
  const minted = await issue(tx, deps, { grants, service, caller: caller.name }, named);
  const [note, ...more] = minted.map(noteOf);
  if (note === undefined) throw new DaypassError('invalid_argument', 'must hold at least one', { field: 'tokens' });
  // Nodes need not hear of a token before it is revoked.
  return { value: minted, pools: [], note, more };
};

const noteOf = ({ row: { jti, service, client, subject: principal } }: Minted): Note => ({
  path: `tokens/${jti}`,
  jti,
  service,
  client,
  principal,
});

const readService = async (tx: Aggregates, caller: CallerActor, name: string): Promise<ServiceRow> => {
  // Asked before the service is looked up: a caller learns nothing of services that are not its own.
  if (!mayMintFor(caller, name)) {
    throw new DaypassError('permission_denied', `may not mint for \`${name}\``, { field: 'service' });
  }
  const service = await tx.services.get(name);
  if (service !== undefined) return service;
  throw new DaypassError('not_found', `there is no service \`${name}\``, { field: 'service' });
};

const check = async (
  tx: Aggregates,
  deps: Deps,
  caller: CallerActor,
  service: ServiceRow,
  input: MintInput,
  effort: Effort,
): Promise<Grant> => {
  const kids = deps.sealingKids(service.config.pool) ?? new Set();
  const expand = await operationLookup(tx, service.name, input.allow);
  const grant = checkMint(input, caller, service, kids, expand);
  await checkSealKey(tx, grant.sealedCredential, 'sealed_credential');
  const rules = { rules: grant.allow, fieldOf: fieldsOf(input.allow, 'allow', expand) };
  await deps.ceilings.check(tx, caller, service.name, rules, effort);
  return grant;
};
