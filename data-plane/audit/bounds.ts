// How much of the spool is for whom.

const MIB = 1024 * 1024;

/** Bytes that parts of the spool may take. */
export type Bounds = {
  /** Counted refusals. */
  readonly refusals: number;
  /** Records of requests. */
  readonly hard: number;
  /** Above it no new request is taken. */
  readonly soft: number;
  /** One file. */
  readonly segment: number;
  /** Above it the log says so. */
  readonly warn: number;
  /** From here on a file that is acknowledged as a whole is deleted while it is the newest. */
  readonly rotate: number;
};

/** Requests may use all but the reserve of counted refusals; new ones stop earlier, so that those under way find room. */
export function boundsOf(bytesMax: number): Bounds {
  const refusals = Math.min(16 * MIB, Math.floor(bytesMax / 16));
  const hard = bytesMax - refusals;
  const soft = hard - Math.min(8 * MIB, Math.floor(bytesMax / 8));
  const segment = Math.min(8 * MIB, Math.floor(bytesMax / 8));
  return { refusals, hard, soft, segment, warn: soft * 0.8, rotate: Math.min(segment, refusals) / 8 };
}
