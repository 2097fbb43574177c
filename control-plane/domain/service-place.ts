// Reads where a credential is put on a request, and where a token may be presented.
import { DaypassError } from '@daypass/core/errors';
import { checkPlace } from '@daypass/core/place';
import type { CredentialPlace, TokenPlace } from '@daypass/core/service';
import { refuseCredentialHeader, refuseTokenHeader } from './headers.ts';
import type { Problems } from './problems.ts';
import type { ServiceInput } from './service-input.ts';

type PlaceInput = NonNullable<ServiceInput['place']>;

/** Reads a place under `path`; undefined when a problem was noted. */
export const readPlace = (input: PlaceInput, path: string, problems: Problems): CredentialPlace | undefined => {
  if (input.kind !== 'header' && input.template !== '') {
    problems.add(`${path}.template`, 'is for a header only');
    return undefined;
  }
  switch (input.kind) {
    case 'bearer':
    case 'basic':
      if (input.name === '') return { kind: input.kind };
      problems.add(`${path}.name`, `must be empty for ${input.kind}`);
      return undefined;
    case 'query':
      return checked({ kind: 'query', name: input.name }, path, problems);
    case 'header':
      return readHeaderPlace(input, path, problems);
    default:
      return input.kind satisfies never;
  }
};

const readHeaderPlace = (input: PlaceInput, path: string, problems: Problems): CredentialPlace | undefined => {
  const refusal = refuseCredentialHeader(input.name);
  if (refusal !== undefined) {
    problems.add(`${path}.name`, refusal);
    return undefined;
  }
  const template = input.template === '' ? '{secret}' : input.template;
  if (template.split('{secret}').length !== 2) {
    problems.add(`${path}.template`, 'must hold `{secret}` exactly once');
    return undefined;
  }
  return checked({ kind: 'header', name: input.name.toLowerCase(), template }, path, problems);
};

/** Core has the last word: a place that a node would not take is refused here. */
const checked = (place: CredentialPlace, path: string, problems: Problems): CredentialPlace | undefined => {
  try {
    checkPlace(place, path);
    return place;
  } catch (error) {
    if (!(error instanceof DaypassError)) throw error;
    problems.add(error.field ?? path, error.message);
    return undefined;
  }
};

/** Reads the places of tokens; bearer is always one of them. */
export const readTokenPlaces = (texts: readonly string[], path: string, problems: Problems): readonly TokenPlace[] => {
  const places = new Map<string, TokenPlace>([['bearer', { kind: 'bearer' }]]);
  for (const [i, text] of texts.entries()) {
    const place = problems.check(`${path}[${i}]`, () => readTokenPlace(text));
    if (place !== undefined) places.set(place.kind === 'header' ? `header:${place.name}` : place.kind, place);
  }
  return [...places.values()];
};

const readTokenPlace = (text: string): TokenPlace => {
  if (text === 'bearer' || text === 'token' || text === 'basic') return { kind: text };
  const name = text.startsWith('header:') ? text.slice('header:'.length) : '';
  if (!/^[A-Za-z0-9-]{1,64}$/.test(name)) {
    throw new DaypassError('invalid_argument', 'must be `bearer`, `token`, `basic` or `header:NAME`');
  }
  const refusal = refuseTokenHeader(name);
  if (refusal !== undefined) throw new DaypassError('invalid_argument', refusal);
  return { kind: 'header', name: name.toLowerCase() };
};
