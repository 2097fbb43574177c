// Cut-offs: which tokens one refuses, and how one is read out of a request.
import { DaypassError } from '@daypass/core/errors';
import type { CutOffEntry } from '@daypass/core/service';
import type { Aggregates, CutOffRow, TokenRow } from '../store/interface.ts';
import type { CallerActor } from './actor.ts';

/** A caller's clock may be this much ahead. */
const SKEW_MS = 5000;

/** Cut-offs of one caller that is no admin: every one of them is in the snapshot of every node. */
export const OWN_CUT_OFFS_MAX = 100;

/** What a cut-off looks at. */
export type CutOffSubject = Pick<TokenRow, 'service' | 'client' | 'subject' | 'caller' | 'credentialId' | 'createdAt'>;

/** A cut-off as it is asked; empty texts are not set. */
export type CutOffInput = {
  readonly service: string;
  readonly client: string;
  readonly subject: string;
  readonly caller: string;
  readonly credentialId: string;
  /** Milliseconds; undefined: now. */
  readonly mintedBefore: number | undefined;
};

/** Whether a token fits every member of a cut-off and was minted at or before its time. */
export const cutsOff = (entry: CutOffEntry, token: CutOffSubject): boolean =>
  (entry.service === undefined || entry.service === token.service) &&
  (entry.client === undefined || entry.client === token.client) &&
  (entry.subject === undefined || entry.subject === token.subject) &&
  (entry.caller === undefined || entry.caller === token.caller) &&
  (entry.credential_id === undefined || entry.credential_id === token.credentialId) &&
  token.createdAt <= Math.round(entry.minted_before * 1000);

/**
 * Reads a cut-off. A caller that is no admin may cut off its own tokens only, and has to say so.
 * @throws {DaypassError} `invalid_argument` or `permission_denied`
 */
export const readCutOff = (input: CutOffInput, caller: CallerActor, now: number): CutOffEntry => {
  if (!caller.admin && input.caller !== caller.name) {
    throw new DaypassError('permission_denied', `must be \`${caller.name}\`: others' tokens are not yours to cut off`, {
      field: 'cut_off.caller',
    });
  }
  if ([input.service, input.client, input.subject, input.caller, input.credentialId].every((text) => text === '')) {
    throw new DaypassError('invalid_argument', 'must say which tokens: at least one field', { field: 'cut_off' });
  }
  const asked = input.mintedBefore ?? now;
  const mintedBefore = Math.min(asked, now);
  if (!Number.isFinite(asked) || asked > now + SKEW_MS || asked < 0) {
    throw new DaypassError('invalid_argument', 'must not be in the future', { field: 'cut_off.minted_before' });
  }
  return {
    ...(input.service === '' ? {} : { service: input.service }),
    ...(input.client === '' ? {} : { client: input.client }),
    ...(input.subject === '' ? {} : { subject: input.subject }),
    ...(input.caller === '' ? {} : { caller: input.caller }),
    ...(input.credentialId === '' ? {} : { credential_id: input.credentialId }),
    minted_before: Math.round(mintedBefore) / 1000,
  };
};

/** Clocks of control planes differ by less. */
const CLOCKS_MS = 60_000;

/** The time of a cut-off of all that is stored: a token may have been minted by a control plane whose clock is ahead. */
export const timeOfCutOff = async ({ tokens }: Pick<Aggregates, 'tokens'>, now: number): Promise<number> => {
  const [newest] = await tokens.list({}, { after: undefined, limit: 1 });
  return Math.max(now, Math.min(newest?.createdAt ?? 0, now + CLOCKS_MS));
};

const MEMBERS = ['service', 'client', 'subject', 'caller', 'credential_id'] as const;

/** The cut-offs that say something that no other says: the newest of each kind, but for those that a wider one covers. */
export const standingCutOffs = (rows: readonly CutOffRow[]): readonly CutOffRow[] => {
  const newest = new Map<string, CutOffRow>();
  for (const row of rows) {
    const known = newest.get(kindOf(row.entry, MEMBERS));
    if (known === undefined || known.entry.minted_before < row.entry.minted_before)
      newest.set(kindOf(row.entry, MEMBERS), row);
  }
  return [...newest.values()].filter(({ entry }) => {
    const members = MEMBERS.filter((member) => entry[member] !== undefined);
    return !fewerOf(members).some((fewer) => {
      const wider = newest.get(kindOf(entry, fewer));
      return wider !== undefined && wider.entry.minted_before >= entry.minted_before;
    });
  });
};

/**
 * Refuses one more cut-off of a caller that has too many standing.
 * @throws {DaypassError} `failed_precondition`
 */
export const checkOwnCutOffs = (rows: readonly CutOffRow[], fresh: CutOffRow, caller: CallerActor): void => {
  if (caller.admin) return;
  const own = standingCutOffs([...rows, fresh]).filter(({ entry }) => entry.caller === caller.name);
  if (own.length <= OWN_CUT_OFFS_MAX) return;
  const message = `${OWN_CUT_OFFS_MAX} cut-offs of yours stand already: revoke by id, or cut off all tokens of \`${caller.name}\``;
  throw new DaypassError('failed_precondition', message, { field: 'cut_off' });
};

type Member = (typeof MEMBERS)[number];

const kindOf = (entry: CutOffEntry, members: readonly Member[]): string =>
  JSON.stringify(MEMBERS.map((member) => (members.includes(member) ? (entry[member] ?? null) : null)));

/** Every choice of some of the members, neither none nor all. */
const fewerOf = (members: readonly Member[]): readonly (readonly Member[])[] =>
  Array.from({ length: 2 ** members.length - 2 }, (_, i) => members.filter((_, bit) => ((i + 1) >> bit) % 2 === 1));
