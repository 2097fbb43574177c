// What rules may ask of a request beside its method and path.

import { type QueryPair, readQuery } from './query-family.ts';
import type { JsonBody } from './request-body.ts';

type Source = {
  /** Raw, without its `?`; `undefined` if there is none. */
  readonly query: string | undefined;
  /** The values of all fields of this lower-case name that go upstream. */
  readonly header: (name: string) => readonly string[];
};

/** Query, headers and body; what conditions need of them is worked out once, when it is first asked. */
export class RequestDetails {
  readonly rawQuery: string | undefined;
  readonly header: (name: string) => readonly string[];
  /** Unless it is set, conditions on the body do not hold. */
  body: JsonBody | undefined;
  #query: ReadonlyMap<string, readonly QueryPair[]> | undefined | null = null;

  constructor({ query, header }: Source) {
    this.rawQuery = query;
    this.header = header;
  }

  /** Pairs by family; `undefined` if the query cannot be read. */
  get query(): ReadonlyMap<string, readonly QueryPair[]> | undefined {
    if (this.#query === null) this.#query = readQuery(this.rawQuery);
    return this.#query;
  }
}
