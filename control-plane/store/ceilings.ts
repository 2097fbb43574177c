// Ceilings of callers in the database: the most that the tokens of each may allow, a row a service.
import type { CeilingStore } from './interface.ts';
import { type Db, fromJson, inParts } from './tables.ts';

export const createCeilingStore = (db: Db): CeilingStore => ({
  get: async (caller, service) => {
    const found = await db
      .selectFrom('ceilings')
      .select('rules')
      .where('caller', '=', caller)
      .where('service', '=', service)
      .executeTakeFirst();
    return found && read(found.rules, caller);
  },
  ofCaller: async (caller) => {
    const found = await db
      .selectFrom('ceilings')
      .select(['service', 'rules'])
      .where('caller', '=', caller)
      .orderBy('service')
      .execute();
    return Object.fromEntries(found.map(({ service, rules }) => [service, read(rules, caller)]));
  },
  replaceAll: async (caller, ceilings) => {
    await db.deleteFrom('ceilings').where('caller', '=', caller).execute();
    const rows = Object.entries(ceilings).map(([service, rules]) => ({
      caller,
      service,
      rules: JSON.stringify(rules),
    }));
    for (const part of inParts(rows, 3)) await db.insertInto('ceilings').values(part).execute();
  },
  deleteService: async (service) => {
    await db.deleteFrom('ceilings').where('service', '=', service).execute();
  },
});

const read = (rules: string, caller: string): readonly string[] => fromJson(rules, `ceiling of caller ${caller}`);
