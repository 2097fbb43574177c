// The forms of the files under `control/`, each read strictly.
import { decodeBase64url } from '@daypass/core/base64url';
import { DaypassError } from '@daypass/core/errors';
import { isFleet } from '@daypass/core/home';
import { type JsonObject, type JsonValue, readArray, readObject, readString, refuseUnknown } from '@daypass/core/json';
import { type PrivateJwk, type PublicJwk, readPublicJwk, type SignedKeyBytes } from '@daypass/core/key';

/** A node that may connect. */
export type EnrolledNode = { readonly name: string; readonly pool: string; readonly jwk: PublicJwk };

const NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

/** `fleet.json`: the fleet's URI and its root. */
export const readFleet = (value: JsonValue): { readonly fleet: string; readonly root: PublicJwk } => {
  const object = versioned(value, ['fleet', 'root']);
  const fleet = readString(object.fleet, 'fleet');
  if (!isFleet(fleet)) throw wrong('"fleet" is not a fleet URI');
  return { fleet, root: readPublicJwk(object.root, 'Ed25519', 'root') };
};

/** `snapshot-key.json` and `sealing-keys.json`: signed keys by pool; one that stands alone is a list of one. */
export const readStatementLists = (value: JsonValue): ReadonlyMap<string, readonly SignedKeyBytes[]> =>
  new Map(
    Object.entries(readObject(value, 'file')).map(([pool, list]) => [
      poolName(pool),
      (Array.isArray(list) ? readArray(list, pool) : [list]).map((one, i) => readSigned(one, `"${pool}"[${i}]`)),
    ]),
  );

const readSigned = (value: JsonValue, where: string): SignedKeyBytes => {
  const object = readObject(value, where);
  refuseUnknown(object, ['statement', 'signature'], where);
  return {
    statement: decodeBase64url(readString(object.statement, `${where}.statement`)),
    signature: decodeBase64url(readString(object.signature, `${where}.signature`)),
  };
};

/** `nodes.json`: who may connect. */
export const readNodes = (value: JsonValue): readonly EnrolledNode[] => {
  const nodes = readArray(versioned(value, ['nodes']).nodes, 'nodes').map((one, i) => readNode(one, `nodes[${i}]`));
  const names = nodes.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw wrong(`"nodes" names "${twice}" twice`);
  return nodes;
};

const readNode = (value: JsonValue, where: string): EnrolledNode => {
  const object = readObject(value, where);
  refuseUnknown(object, ['name', 'pool', 'jwk'], where);
  const name = readString(object.name, `${where}.name`);
  if (!NAME.test(name)) throw wrong(`"${where}.name" is not 1 to 63 lower-case letters, digits and inner hyphens`);
  const pool = poolName(readString(object.pool, `${where}.pool`));
  return { name, pool, jwk: readPublicJwk(object.jwk, 'Ed25519', `${where}.jwk`) };
};

const poolName = (pool: string): string => {
  if (NAME.test(pool)) return pool;
  throw wrong('a pool is named with 1 to 63 lower-case letters, digits and inner hyphens');
};

/** `admin.json`: the hash of the admin's key. */
export const readAdmin = (value: JsonValue): string => {
  const hash = readString(versioned(value, ['key_hash']).key_hash, 'key_hash');
  if (!/^[0-9a-f]{64}$/.test(hash)) throw wrong('"key_hash" is not a sha256 in hex');
  return hash;
};

const versioned = (value: JsonValue, members: readonly string[]): JsonObject => {
  const object = readObject(value, 'file');
  refuseUnknown(object, ['v', ...members], 'file');
  if (object.v !== 1) throw wrong('"v" is not 1');
  return object;
};

/** A private Ed25519 JWK. */
export const readPrivateJwk = (value: JsonValue): PrivateJwk => {
  const { d, ...open } = readObject(value, 'file');
  return { ...readPublicJwk(open, 'Ed25519', 'file'), d: readString(d, 'd') };
};

const wrong = (message: string): DaypassError => new DaypassError('invalid_json', message);
