// The version of this software, as its package says it.
import { readFileSync } from 'node:fs';
import { parseStrictJson, readObject, readString } from '@daypass/core/json';

/** For health checks and reports. */
export function softwareVersion(): string {
  const text = readFileSync(new URL('./package.json', import.meta.url), 'utf8');
  return readString(readObject(parseStrictJson(text), 'package.json').version, 'version');
}
