// What the fields of a request say, and what later steps worked out of them: kept for the next request that brings them.
import type { ActiveService } from './active-service.ts';
import type { RequestLines } from './transport/head-text.ts';

/** A token as it was found. */
export type Presented = {
  readonly text: string;
  /** It stands under the scheme DPoP (RFC 9449 §7.1), which alone is for tokens that are bound to a key. */
  readonly isDpop: boolean;
};

/** What later steps worked out. Each depends on the fields and the service alone. */
export type HeadMemo = {
  presented?: { readonly service: ActiveService | undefined; readonly token: Presented | undefined };
  forwarded?: { readonly service: ActiveService; readonly lines: RequestLines };
};

/** What the fields say, whatever the target. */
export type FieldsRead = {
  /** Field names (lower-case, letters, digits and `-` only) and values by turns, as they came. */
  readonly fields: readonly string[];
  /** Field names that the Connection field lists: they end at this proxy (RFC 9110 §7.6.1). */
  readonly hopNames: ReadonlySet<string>;
  readonly authorization: string | undefined;
  /** What the DPoP field holds (RFC 9449 §4.1). */
  readonly proof: string | undefined;
  /** Bytes of the body; undefined when there is none or it is chunked. */
  readonly contentLength: number | undefined;
  readonly chunked: boolean;
  readonly memo: HeadMemo;
};

/** What is kept of the request before on a connection. */
export type Kept = {
  read:
    | (FieldsRead & {
        /** The fields as they came, and the version of HTTP that they came with. */
        readonly source: readonly string[];
        readonly minor: number;
        readonly expect: string | undefined;
      })
    | undefined;
};
