// Creates the services of a plan: all of them, or none.
import { create } from '@bufbuild/protobuf';
import { DaypassError } from '@daypass/core/errors';
import { type Service, ServiceSchema } from '@daypass/sdk/gen/daypass/v1/service_pb';
import type { Connection } from '../connection.ts';
import { FailedError, failureOf } from '../failure.ts';
import { collectItems, eachItem } from '../paging.ts';
import { placeMessage } from '../place.ts';
import { noteSeal, sealForService } from '../service-seal.ts';
import type { PlannedService } from './plan.ts';

const POOL = 'default';

/**
 * Creates every service, and says on stderr which seals set no limit; when one cannot be created, those that were created are removed again.
 * @throws DaypassError `already_exists` naming every service that is there already; FailedError with what was undone
 */
export const applyPlan = async (
  connection: Connection,
  services: readonly PlannedService[],
): Promise<readonly Service[]> => {
  await refuseExisting(connection, services);
  const created: Service[] = [];
  for (const service of services) {
    try {
      created.push(await createOne(connection, service));
    } catch (error) {
      throw await undo(connection, created, service.fields.name, error);
    }
  }
  for (const { name, sealedCredential } of created) if (sealedCredential !== '') noteSeal(connection.io, name, {});
  return created;
};

/** The service as it is sent, without its seal: what a dry run shows. */
export const serviceMessage = ({ fields, place }: PlannedService): Service =>
  create(ServiceSchema, { ...fields, pool: POOL, ...(place === undefined ? {} : { place: placeMessage(place) }) });

const refuseExisting = async (connection: Connection, services: readonly PlannedService[]): Promise<void> => {
  const all = await collectItems(
    eachItem(async (page) => {
      const { services: items, nextPageToken } = await connection.services.list(page);
      return { items, nextPageToken };
    }),
  );
  const there = new Set(all.map(({ name }) => name));
  const taken = services.map(({ fields }) => fields.name).filter((name) => there.has(name));
  if (taken.length === 0) return;
  const message = `nothing was imported: there are services of these names already: ${taken.join(', ')}`;
  throw new DaypassError('already_exists', message, { field: 'name' });
};

const createOne = async (connection: Connection, planned: PlannedService): Promise<Service> => {
  const { fields, place, secret } = planned;
  const message = serviceMessage(planned);
  if (place !== undefined && secret !== undefined) {
    const target = { name: fields.name, pool: POOL, upstream: fields.upstream, place };
    const { sealed, id } = await sealForService(connection, target, secret, {});
    message.sealedCredential = sealed;
    message.credentialId = id;
  }
  const { service } = await connection.services.create({ service: message });
  return service ?? message;
};

/** Removes what this run created, and says in the error what became of it. */
const undo = async (
  connection: Connection,
  created: readonly Service[],
  failed: string,
  cause: unknown,
): Promise<Error> => {
  const stuck: string[] = [];
  for (const { name } of created.toReversed())
    await connection.services.delete({ name }).catch(() => {
      stuck.push(name);
    });
  const failure = failureOf(cause);
  const undone = stuck.length === 0 ? 'nothing was imported' : `these could not be removed again: ${stuck.join(', ')}`;
  const message = `${failed}: ${failure.message}; ${undone}`;
  return new FailedError({ ...failure, message });
};
