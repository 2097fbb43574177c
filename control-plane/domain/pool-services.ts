// The services of a pool, a page at a time: rows become objects on the loop, and there may be a hundred thousand.
import type { Aggregates, ServiceRow } from '../store/interface.ts';

const PAGE = 200;

/** All services of a pool, in name order. */
export async function* servicesOf(tx: Pick<Aggregates, 'services'>, pool: string): AsyncGenerator<ServiceRow> {
  let after: string | undefined;
  for (;;) {
    const rows = await tx.services.ofPool(pool, { after, limit: PAGE });
    yield* rows;
    after = rows.at(-1)?.name;
    if (rows.length < PAGE) return;
  }
}
