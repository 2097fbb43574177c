// How a data plane becomes a node: an admin makes a token, and whoever comes with it and a key of its own is enrolled once.
import { formatEnrolmentToken, verifyEnrolment } from '@daypass/core/enrolment';
import { DaypassError } from '@daypass/core/errors';
import { parseStrictJson } from '@daypass/core/json';
import { fingerprint, type PublicJwk, readPublicJwk, type SignedKeyBytes } from '@daypass/core/key';
import type { Aggregates, EnrolmentRow } from '../store/interface.ts';
import { type CallerActor, callerActor } from './actor.ts';
import type { Changes } from './change.ts';
import { sha256Hex } from './digest.ts';
import { isEnrolled, keyText } from './node-row.ts';
import type { Publisher } from './publisher.ts';
import type { Rollouts } from './rollout.ts';

/** What an admin asks for. Empty texts: the default pool; a name that the node says itself. */
export type EnrolmentAsked = { readonly pool: string; readonly name: string; readonly ttlMs: number | undefined };

/** A token, in this answer and nowhere else: only its hash is kept. */
export type MadeEnrolment = {
  readonly token: string;
  readonly pool: string;
  readonly name: string;
  /** Milliseconds. */
  readonly expiresAt: number;
};

/** What a data plane shows. */
export type EnrolAsked = {
  readonly token: string;
  readonly name: string;
  /** Public JWK as JSON text. */
  readonly jwk: string;
  readonly proof: Uint8Array;
};

/** What a data plane has to know. */
export type Enrolled = {
  readonly fleet: string;
  readonly root: PublicJwk;
  readonly pool: string;
  readonly name: string;
  /** The pool's snapshot key: it binds root, fleet and pool. */
  readonly key: SignedKeyBytes;
};

/** Makes tokens and takes them. */
export type Enrolments = {
  create(by: CallerActor, asked: EnrolmentAsked): Promise<MadeEnrolment>;
  /**
   * Open to anyone: costs a signature and a look-up until the token is known to be good. Of many that come with one token,
   * one is enrolled, and gets the same answer again while the token lives: an answer may be lost. One that is refused for its
   * name may try another.
   */
  enrol(asked: EnrolAsked, signal: AbortSignal): Promise<Enrolled>;
};

const DEFAULT_TTL_MS = 60 * 60 * 1000;
/** Nodes that are enrolled at a time: as many as can watch one control plane. */
const NODES_MAX = 4096;
/** Tokens that have not ended, used ones too. */
const ENROLMENTS_MAX = NODES_MAX;
/** How long an enrolment waits until the others of the pool know that they are one more: proofs then need a nonce. */
const SETTLE_MS = 2000;

type Deps = {
  readonly changes: Changes;
  readonly rollouts: Pick<Rollouts, 'wait'>;
  readonly publisher: Pick<Publisher, 'hasPool' | 'current'>;
  readonly read: Pick<Aggregates, 'enrolments' | 'callers' | 'nodes'>;
  readonly fleet: string;
  readonly root: PublicJwk;
  /** Milliseconds. */
  readonly now: () => number;
  /** Random bytes. */
  readonly randomBytes: (length: number) => Uint8Array;
};

/** Makes the keeper of enrolments. */
export const createEnrolments = (deps: Deps): Enrolments => ({
  create: async (by, asked) => {
    const pool = asked.pool === '' ? 'default' : asked.pool;
    if (!deps.publisher.hasPool(pool))
      throw new DaypassError('not_found', `there is no pool \`${pool}\``, { field: 'pool' });
    const token = formatEnrolmentToken(deps.randomBytes(32), await fingerprint(deps.root));
    const { value } = await deps.changes.run(by, 'NodeService/CreateEnrolment', async (tx, caller) => {
      const row = rowOf(token, { ...asked, pool }, caller, deps.now());
      await tx.enrolments.deleteEnded(deps.now());
      if ((await tx.enrolments.count()) >= ENROLMENTS_MAX) {
        throw new DaypassError('failed_precondition', `There are ${ENROLMENTS_MAX} enrolment tokens out already`);
      }
      if (asked.name !== '') await requireFreeName(tx, asked.name);
      await tx.enrolments.insert(row);
      return { value: row, pools: [], note: { path: pathOf(row) } };
    });
    return { token, pool, name: value.name, expiresAt: value.expiresAt };
  },
  enrol: async (asked, signal) => {
    const jwk = readKey(asked.jwk);
    const tokenHash = sha256Hex(asked.token);
    // Before the database is asked: whoever holds no token learns nothing of one, and pays first.
    if (!(await verifyEnrolment({ tokenHash, name: asked.name, jwk }, asked.proof))) {
      throw new DaypassError('invalid_argument', "is not the key's own over this request", { field: 'proof' });
    }
    const { maker, node } = await lookUp(deps, tokenHash);
    if (node !== '') return { ...(await again(deps, node, asked.name, jwk)), fleet: deps.fleet, root: deps.root };
    const { value, published } = await deps.changes.run(maker, 'NodeService/Enrol', async (tx, by) => {
      const row = await tx.enrolments.get(tokenHash);
      if (!isGood(row, by, deps.now()) || row.node !== '') throw refused();
      const name = await insertNode(tx, row, asked.name, jwk, deps.now());
      if (!(await tx.enrolments.use(tokenHash, name))) throw refused();
      const { pool } = row;
      return { value: { name, pool }, pools: [pool], note: { path: `nodes/${name}` }, more: [{ path: pathOf(row) }] };
    });
    await deps.rollouts.wait(published, SETTLE_MS, signal);
    return { fleet: deps.fleet, root: deps.root, ...value, key: keyOf(deps, value.pool) };
  },
});

const rowOf = (token: string, { pool, name, ttlMs }: EnrolmentAsked, by: CallerActor, now: number): EnrolmentRow => ({
  ...{ tokenHash: sha256Hex(token), pool, name, node: '', caller: by.name, callerCreatedAt: by.createdAt },
  ...{ createdAt: now, expiresAt: now + Math.round(ttlMs ?? DEFAULT_TTL_MS) },
});

/** Joins the making of a token with its use in the audit; of a hash of 256 random bits nothing is learned. */
const pathOf = ({ tokenHash }: EnrolmentRow): string => `enrolments/${tokenHash.slice(0, 16)}`;

/** Who made the token, and who used it; a caller that was deleted, or is no admin any more, invites nobody. */
const lookUp = async ({ read, now }: Deps, tokenHash: string) => {
  const row = await read.enrolments.get(tokenHash);
  const maker = row && (await read.callers.get(row.caller));
  if (maker === undefined) throw refused();
  const actor = callerActor(maker);
  if (!isGood(row, actor, now())) throw refused();
  return { maker: actor, node: row.node };
};

/** What the node that used the token was told already; whoever comes with another key is told nothing. */
const again = async (deps: Deps, node: string, asked: string, jwk: PublicJwk) => {
  const row = await deps.read.nodes.get(node);
  if (!isEnrolled(row) || row.jwk !== keyText(jwk) || (asked !== '' && asked !== node)) throw refused();
  return { pool: row.pool, name: row.name, key: keyOf(deps, row.pool) };
};

const isGood = (row: EnrolmentRow | undefined, by: CallerActor, now: number): row is EnrolmentRow =>
  row !== undefined && now < row.expiresAt && by.admin && by.createdAt === row.callerCreatedAt;

/** One answer for all, so that nobody learns which tokens there are. */
const refused = (): DaypassError =>
  new DaypassError('unauthenticated', 'The enrolment token is not there, was used, or has ended');

const insertNode = async (
  tx: Aggregates,
  row: EnrolmentRow,
  asked: string,
  key: PublicJwk,
  now: number,
): Promise<string> => {
  const name = asked === '' ? row.name : asked;
  if (name === '') {
    throw new DaypassError('invalid_argument', 'is needed: the enrolment token names no node', { field: 'name' });
  }
  if (row.name !== '' && name !== row.name) {
    throw new DaypassError('invalid_argument', `must be \`${row.name}\` with this token`, { field: 'name' });
  }
  await requireFreeName(tx, name);
  const jwk = keyText(key);
  // A key that was expelled does not come back under another name.
  if ((await tx.nodes.byKey(jwk)) !== undefined)
    throw new DaypassError('already_exists', 'a node has, or had, this key', { field: 'jwk' });
  if ((await tx.nodes.count()) >= NODES_MAX)
    throw new DaypassError('failed_precondition', `There are ${NODES_MAX} nodes already`);
  await tx.nodes.insert({ name, pool: row.pool, jwk, enrolledAt: now, enrolledBy: row.caller });
  return name;
};

/** Names are not used twice: audit that lies here under a name stays that of one key. */
const requireFreeName = async (tx: Aggregates, name: string): Promise<void> => {
  if ((await tx.nodes.get(name)) === undefined) return;
  const message = `a node has, or had, the name \`${name}\`; names are not used twice`;
  throw new DaypassError('already_exists', message, { field: 'name' });
};

const readKey = (text: string): PublicJwk => {
  try {
    return readPublicJwk(parseStrictJson(text), 'Ed25519', 'jwk');
  } catch (cause) {
    throw new DaypassError('invalid_argument', 'is not a public Ed25519 JWK', { cause, field: 'jwk' });
  }
};

const keyOf = ({ publisher }: Deps, pool: string): SignedKeyBytes => {
  const published = publisher.current(pool);
  if (published === undefined) throw new DaypassError('unavailable', `The pool \`${pool}\` has no snapshot`);
  return published.snapshot.key;
};
