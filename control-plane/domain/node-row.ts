// What a node's row says: whether it may connect, and its key.
import type { PublicJwk } from '@daypass/core/key';
import type { NodeRow } from '../store/interface.ts';

/** Whether the node may connect. Asked of the database at each call: an expulsion at one control plane holds at all. */
export const isEnrolled = (row: NodeRow | undefined): row is NodeRow =>
  row !== undefined && row.enrolledAt !== undefined && row.expelledAt === undefined;

/** The one text of a key in the database, so that one that is there is found: without `kid`, which anyone may write as they like. */
export const keyText = ({ kty, crv, x }: PublicJwk): string => JSON.stringify({ kty, crv, x });
