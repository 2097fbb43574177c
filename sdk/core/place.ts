// Where a credential is put on a request, and which secrets can stand there.
import { DaypassError } from './errors.ts';
import { type JsonValue, readObject, readString, refuseUnknown } from './json.ts';
import type { CredentialPlace } from './service.ts';

/** Headers that frame or route a message: never a place for a credential. */
const FORBIDDEN_HEADERS: ReadonlySet<string> = new Set([
  'connection',
  'content-encoding',
  'content-length',
  'content-type',
  'expect',
  'host',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'via',
]);

/** Reads a place strictly; header names are lower-case. Throws `invalid_json` naming the member. */
export function readPlace(value: JsonValue | undefined, where: string): CredentialPlace {
  const object = readObject(value, where);
  const kind = readString(object.kind, `${where}.kind`);
  switch (kind) {
    case 'bearer':
    case 'basic':
      refuseUnknown(object, ['kind'], where);
      return { kind };
    case 'header': {
      refuseUnknown(object, ['kind', 'name', 'template'], where);
      const place = {
        kind,
        name: readString(object.name, `${where}.name`),
        template: readString(object.template, `${where}.template`),
      } as const;
      checkPlace(place, where);
      return place;
    }
    case 'query': {
      refuseUnknown(object, ['kind', 'name'], where);
      const place = { kind, name: readString(object.name, `${where}.name`) } as const;
      checkPlace(place, where);
      return place;
    }
    default:
      throw wrong(`${where}.kind`, 'must be bearer, basic, header or query');
  }
}

/** Checks the names and the template of a place; throws `invalid_json` naming the member. */
export function checkPlace(place: CredentialPlace, where: string): void {
  if (place.kind === 'query' && !/^[A-Za-z0-9_.-]{1,64}$/.test(place.name))
    throw wrong(`${where}.name`, 'must be 1 to 64 letters, digits, "_", "." or "-"');
  if (place.kind !== 'header') return;
  if (!/^[a-z0-9-]{1,64}$/.test(place.name) || FORBIDDEN_HEADERS.has(place.name))
    throw wrong(`${where}.name`, 'is not a lower-case header name that can carry a credential');
  if (place.template.split('{secret}').length !== 2 || !/^[!-~]([ -~]{0,254}[!-~])?$/.test(place.template))
    throw wrong(`${where}.template`, 'must hold {secret} exactly once, among visible ASCII');
}

/** Whether two places are the same in every part. */
export function samePlace(a: CredentialPlace, b: CredentialPlace): boolean {
  if (a.kind === 'header') return b.kind === 'header' && a.name === b.name && a.template === b.template;
  if (a.kind === 'query') return b.kind === 'query' && a.name === b.name;
  return a.kind === b.kind;
}

/** Why a secret cannot stand at a place, in words that do not quote it; undefined when it can. */
export function secretProblem(secret: string, place: CredentialPlace): string | undefined {
  if (secret === '') return 'is empty';
  if (!secret.isWellFormed() || /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/.test(secret))
    return 'holds a control character';
  switch (place.kind) {
    case 'bearer':
      return /^[!-~]+$/.test(secret) ? undefined : 'must be visible ASCII without blanks';
    case 'header':
      return /^[!-~]([ -~]*[!-~])?$/.test(secret) ? undefined : 'must be visible ASCII';
    case 'basic':
      return secret.includes(':') ? undefined : 'must be user:password';
    case 'query':
      return undefined;
    default:
      return place satisfies never;
  }
}

const wrong = (where: string, what: string): DaypassError =>
  new DaypassError('invalid_json', `"${where}" ${what}`, { field: where });
