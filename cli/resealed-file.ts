// The file that carries credentials which were sealed anew from a data plane to whoever may change services: ciphertext alone.
import { writeFile } from 'node:fs/promises';
import { DaypassError } from '@daypass/core/errors';
import { type JsonValue, readArray, readObject, readString, refuseUnknown } from '@daypass/core/json';
import { MAX_SEAL_IN_SNAPSHOT } from '@daypass/core/seal';
import { json, refuse } from './home.ts';
import type { Resealed } from './reseal.ts';
import { readFileOf } from './signed-keys.ts';

/** Writes it, 0600, over no other. @throws DaypassError `failed_precondition` */
export const writeResealed = async (path: string, credentials: readonly Resealed[]): Promise<void> => {
  await writeFile(path, json({ v: 1, credentials }), { flag: 'wx', mode: 0o600, flush: true }).catch(
    refuse(path, 'cannot be written'),
  );
};

/** Reads it. @throws DaypassError `config_invalid` */
export const readResealed = (path: string): Promise<readonly Resealed[]> =>
  readFileOf(path, (value) => {
    const object = readObject(value, 'file');
    refuseUnknown(object, ['v', 'credentials'], 'file');
    if (object.v !== 1) throw new DaypassError('invalid_json', '"v" is not 1');
    return readArray(object.credentials, 'credentials').map(readOne);
  });

const readOne = (value: JsonValue): Resealed => {
  const object = readObject(value, 'credential');
  refuseUnknown(object, ['service', 'id', 'was', 'sealed'], 'credential');
  const [service, id] = [readString(object.service, 'service'), readString(object.id, 'id')];
  const [was, sealed] = [readString(object.was, 'was'), readString(object.sealed, 'sealed')];
  if (sealed.length > MAX_SEAL_IN_SNAPSHOT) throw new DaypassError('invalid_json', '"sealed" is too long');
  return { service, id, was, sealed };
};
