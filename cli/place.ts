// Credential places: as a flag says them, as the API does, and as the core does.
import { create } from '@bufbuild/protobuf';
import { DaypassError } from '@daypass/core/errors';
import { checkPlace } from '@daypass/core/place';
import type { CredentialPlace } from '@daypass/core/service';
import {
  CredentialPlaceSchema,
  CredentialPlace_Kind as Kind,
  type CredentialPlace as PlaceMessage,
} from '@daypass/sdk/gen/daypass/v1/service_pb';
import { UsageError } from './failure.ts';

/** Reads `bearer`, `basic`, `header:NAME` or `query:NAME`. @throws UsageError */
export const parsePlace = (text: string, template: string | undefined): CredentialPlace => {
  const place = placeOf(text, template ?? '{secret}');
  if (template !== undefined && place.kind !== 'header')
    throw new UsageError('--template is for --credential header:NAME only', '--template');
  try {
    checkPlace(place, 'credential');
    return place;
  } catch (cause) {
    if (!(cause instanceof DaypassError)) throw cause;
    throw new UsageError(`--credential ${text}: ${cause.message}`, '--credential');
  }
};

const placeOf = (text: string, template: string): CredentialPlace => {
  if (text === 'bearer' || text === 'basic') return { kind: text };
  const [, kind, name] = /^(header|query):(.+)$/.exec(text) ?? [];
  if (kind === 'header' && name !== undefined) return { kind, name: name.toLowerCase(), template };
  if (kind === 'query' && name !== undefined) return { kind, name };
  throw new UsageError(`--credential is bearer, basic, header:NAME or query:NAME, not "${text}"`, '--credential');
};

/** As the API has it. */
export const placeMessage = (place: CredentialPlace): PlaceMessage => {
  switch (place.kind) {
    case 'bearer':
      return create(CredentialPlaceSchema, { kind: Kind.BEARER });
    case 'basic':
      return create(CredentialPlaceSchema, { kind: Kind.BASIC });
    case 'header':
      return create(CredentialPlaceSchema, { kind: Kind.HEADER, name: place.name, template: place.template });
    case 'query':
      return create(CredentialPlaceSchema, { kind: Kind.QUERY, name: place.name });
    default:
      return place satisfies never;
  }
};

/** As the core has it; undefined for a kind that is not known. */
export const placeFromMessage = (message: PlaceMessage | undefined): CredentialPlace | undefined => {
  switch (message?.kind) {
    case Kind.BEARER:
      return { kind: 'bearer' };
    case Kind.BASIC:
      return { kind: 'basic' };
    case Kind.HEADER:
      return { kind: 'header', name: message.name, template: message.template === '' ? '{secret}' : message.template };
    case Kind.QUERY:
      return { kind: 'query', name: message.name };
    default:
      return undefined;
  }
};

/** As a flag says it. */
export const placeText = (place: CredentialPlace | undefined): string => {
  if (place === undefined) return '';
  return 'name' in place ? `${place.kind}:${place.name}` : place.kind;
};
