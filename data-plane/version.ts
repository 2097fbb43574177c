// The version of this software, as its package says it.
import { readFileSync } from 'node:fs';
import { parseStrictJson, readObject, readString } from '@daypass/core/json';

const text = readFileSync(new URL('./package.json', import.meta.url), 'utf8');

/** For health checks and reports. */
export const VERSION: string = readString(readObject(parseStrictJson(text), 'package.json').version, 'version');
