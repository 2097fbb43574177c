// Whether a canary does harm: numbers alone, so that a person can work out why one was taken back.
import type { CanaryRow, NodeTally } from '../store/interface.ts';

/** Requests for the changed service, and the bad ones among them (`NodeTally`). */
export type Tally = { readonly requests: number; readonly bad: number };

/** What is compared. */
export type CanaryTallies = {
  /** On its nodes, before it began. */
  readonly before: Tally;
  /** On its nodes, decided by snapshots that hold the change. */
  readonly during: Tally;
  /** On the other nodes, since it began. */
  readonly others: Tally;
};

/** Nothing is said of fewer requests, and a share of fewer is taken for 0. */
export const REQUESTS_MIN = 20;
/** Fewer bad ones are taken for chance. */
export const BAD_MIN = 5;
/** The share of bad ones must be higher by so much than what it is compared with, */
export const JUMP_MIN = 0.1;
/** and so many times as high. */
export const FACTOR_MIN = 2;

/** Counts by node, put together. */
export const talliesOf = (canary: Omit<CanaryRow, 'change'>, counts: readonly NodeTally[]): CanaryTallies => {
  const sum = (rows: readonly Tally[]): Tally => ({
    requests: rows.reduce((all, { requests }) => all + requests, 0),
    bad: rows.reduce((all, { bad }) => all + bad, 0),
  });
  const [own, others] = [new Set(canary.nodes), counts.filter(({ node }) => !canary.nodes.includes(node))];
  return {
    before: { requests: canary.requestsBefore, bad: canary.badBefore },
    during: sum(
      counts
        .filter(({ node }) => own.has(node))
        .map(({ requestsFrom, badFrom }) => ({ requests: requestsFrom, bad: badFrom })),
    ),
    others: sum(others),
  };
};

/**
 * Why it must be taken back; undefined: nothing speaks against it. It is compared with the worse of what its nodes did
 * before and what the others do meanwhile: what befalls all nodes is not its doing.
 */
export const harmOf = ({ before, during, others }: CanaryTallies): string | undefined => {
  if (during.requests < REQUESTS_MIN || during.bad < BAD_MIN) return undefined;
  const usual = Math.max(shareOf(before), shareOf(others));
  const share = during.bad / during.requests;
  if (share < usual + JUMP_MIN || share < usual * FACTOR_MIN) return undefined;
  return `${text(during)} requests were refused or failed, before ${text(before)}, on other nodes ${text(others)}`;
};

const shareOf = ({ requests, bad }: Tally): number => (requests < REQUESTS_MIN ? 0 : bad / requests);
const text = ({ requests, bad }: Tally): string => `${bad} of ${requests}`;
