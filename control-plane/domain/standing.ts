// Whether tokens stand: not revoked, not cut off, nor any that they were exchanged from, and their service open to them.
import { DaypassError } from '@daypass/core/errors';
import { LARGEST_TTL_SECONDS } from '@daypass/core/service';
import type { Aggregates, CutOffRow, ServiceRow, TokenRow } from '../store/interface.ts';
import { cutsOff, standingCutOffs } from './cut-off.ts';

/** For each token by its id why it does not stand, as an error for whoever holds it. Says nothing of its own time. */
export type Standing = (rows: readonly TokenRow[]) => Promise<ReadonlyMap<string, DaypassError | undefined>>;

/** Makes a look at tokens as they stand now, in one transaction or outside; good for one question. */
export const lookAtStanding = async (
  read: Pick<Aggregates, 'tokens' | 'services' | 'cutOffs'>,
  now: number,
): Promise<Standing> => {
  const all = await read.cutOffs.all(now - LARGEST_TTL_SECONDS * 1000);
  let standing: readonly CutOffRow[] | undefined;
  const services = new Map<string, ServiceRow | undefined>();
  return async (rows) => {
    // To sort out those that say nothing more takes longer than to ask them all about one token.
    if (rows.length > 1) standing ??= standingCutOffs(all);
    const cutOffs = standing ?? all;
    for (const name of new Set(rows.map(({ service }) => service))) {
      if (!services.has(name)) services.set(name, await read.services.get(name));
    }
    const jtis = [...new Set(rows.flatMap(({ parents }) => parents))];
    const parents = new Map((await read.tokens.getMany(jtis)).map((row) => [row.jti, row]));
    return new Map(
      rows.map((row) => {
        const line = [row, ...row.parents.map((jti) => parents.get(jti))];
        return [row.jti, fallOf(row, line, services.get(row.service), cutOffs)];
      }),
    );
  };
};

const fallOf = (
  row: TokenRow,
  line: readonly (TokenRow | undefined)[],
  service: ServiceRow | undefined,
  cutOffs: readonly CutOffRow[],
): DaypassError | undefined => {
  if (line.some((one) => one === undefined || one.revokedAt !== undefined)) {
    return new DaypassError('token_revoked', `the token has been revoked${comesFrom(row)}`);
  }
  if (service === undefined) return new DaypassError('service_unknown', 'the service is gone');
  const { clients, max_ttl_seconds } = service.config;
  if (clients !== null && line.some((one) => one !== undefined && !clients.includes(one.client))) {
    return new DaypassError('client_refused', 'the service is closed to its label');
  }
  if (row.expiresAt - Math.floor(row.createdAt / 1000) * 1000 > (max_ttl_seconds + 1) * 1000) {
    return new DaypassError('token_lifetime_refused', 'the token lives longer than its service allows');
  }
  const isCutOff = (one: TokenRow | undefined): boolean => {
    const subject = one && { ...one, credentialId: one.credentialId ?? service.credentialId };
    return subject !== undefined && cutOffs.some(({ entry }) => cutsOff(entry, subject));
  };
  if (line.some(isCutOff)) return new DaypassError('token_revoked', `the token has been cut off${comesFrom(row)}`);
  return undefined;
};

const comesFrom = ({ parents }: TokenRow): string =>
  parents.length === 0 ? '' : ', or one that it was exchanged from';
