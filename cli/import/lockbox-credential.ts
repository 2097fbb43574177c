// Reads a credential of lockbox: where it goes and what it is. The secret itself is in no message.

import { DaypassError } from '@daypass/core/errors';
import type { JsonObject, JsonValue } from '@daypass/core/json';
import { checkPlace, secretProblem } from '@daypass/core/place';
import { Secret } from '@daypass/core/secret';
import type { CredentialPlace } from '@daypass/core/service';
import { isObject } from './json-shape.ts';
import type { Findings } from './plan.ts';

/** A credential and its place. */
export type PlacedCredential = { readonly place: CredentialPlace; readonly secret: Secret };

/** The credential of a service; undefined where there is none or a problem was noted. */
export const readCredential = (value: JsonValue, path: string, findings: Findings): PlacedCredential | undefined => {
  if (value === null) return undefined;
  if (!isObject(value)) return findings.problem(path, 'must be an object or null');
  switch (typeOf(value)) {
    case 'bearer':
      if (typeof value.token !== 'string') return findings.problem(`${path}.token`, 'must be text');
      return placed({ kind: 'bearer' }, value.token, `${path}.token`, findings);
    case 'basic':
      return readBasic(value, path, findings);
    case 'headers':
      return readHeaders(value.headers ?? null, `${path}.headers`, findings);
    default:
      return findings.problem(`${path}.type`, 'must be bearer, basic or headers');
  }
};

/** Theirs tells the kinds apart by their members where no type is given. */
const typeOf = (value: JsonObject): JsonValue | undefined => {
  if (value.type !== undefined) return value.type;
  if (value.username !== undefined) return 'basic';
  if (value.token !== undefined) return 'bearer';
  return value.headers === undefined ? undefined : 'headers';
};

const readBasic = (
  { username, password }: JsonObject,
  path: string,
  findings: Findings,
): PlacedCredential | undefined => {
  if (typeof username !== 'string') findings.problem(`${path}.username`, 'must be text');
  if (typeof password !== 'string') findings.problem(`${path}.password`, 'must be text');
  if (typeof username !== 'string' || typeof password !== 'string') return undefined;
  // RFC 7617 §2: a colon would end the user name early.
  if (username.includes(':')) return findings.problem(`${path}.username`, 'must not hold a colon');
  return placed({ kind: 'basic' }, `${username}:${password}`, path, findings);
};

/** One header can be sealed. The others may be secret too, so they are not kept in the clear: they are left behind. */
const readHeaders = (value: JsonValue, path: string, findings: Findings): PlacedCredential | undefined => {
  if (!isObject(value) || Object.keys(value).length === 0)
    return findings.problem(path, 'must be an object of headers');
  const headers = Object.entries(value);
  const [name, text] = headers.find(([one]) => one.toLowerCase() === 'authorization') ?? headers[0] ?? ['', null];
  for (const [other] of headers)
    if (other !== name)
      findings.notImported(
        `${path}.${other}`,
        `a service has one sealed credential, which is "${name}"; if this header is no secret, add it with "daypass service update NAME --set-header"`,
      );
  if (typeof text !== 'string') return findings.problem(`${path}.${name}`, 'must be text');
  return placed(...headerPlace(name.toLowerCase(), text), `${path}.${name}`, findings);
};

/** `Authorization: Scheme secret` is sealed without its scheme, so that the secret alone is what is looked for later. */
const headerPlace = (name: string, text: string): readonly [CredentialPlace, string] => {
  const [, scheme, secret] = /^([A-Za-z][A-Za-z0-9-]{0,31}) (\S+)$/.exec(text) ?? [];
  if (name !== 'authorization' || scheme === undefined || secret === undefined)
    return [{ kind: 'header', name, template: '{secret}' }, text];
  if (scheme === 'Bearer') return [{ kind: 'bearer' }, secret];
  return [{ kind: 'header', name, template: `${scheme} {secret}` }, secret];
};

const placed = (
  place: CredentialPlace,
  text: string,
  path: string,
  findings: Findings,
): PlacedCredential | undefined => {
  try {
    checkPlace(place, path);
  } catch (error) {
    if (!(error instanceof DaypassError)) throw error;
    return findings.problem(path, 'cannot carry a credential');
  }
  const problem = secretProblem(text, place);
  if (problem !== undefined) return findings.problem(path, problem);
  return { place, secret: new Secret(text) };
};
