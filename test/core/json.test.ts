// Strict JSON: the same meaning as JSON.parse, or an error with the position.

import {
  parseStrictJson,
  parseStrictJsonBytes,
  readArray,
  readBoolean,
  readCount,
  readNumber,
  readObject,
  readString,
  readStringArray,
  readStringMap,
  refuseUnknown,
} from '@daypass/core/json';
import fc from 'fast-check';
import { expect, test } from 'vitest';

test('reads what JSON.parse reads', () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 6 }), (text) => {
      expect(JSON.stringify(parseStrictJson(text))).toBe(JSON.stringify(JSON.parse(text)));
    }),
  );
});

test('accepts nothing that JSON.parse refuses', () => {
  const unit = fc.constantFrom('{', '}', '[', ']', '"', 'a', ':', ',', '1', '-', '.', 'e', '0', '\\', 'u', ' ', 'null');
  fc.assert(
    fc.property(fc.string({ unit, maxLength: 12 }), (text) => {
      let value: unknown;
      try {
        value = parseStrictJson(text);
      } catch (error) {
        expect(error).toMatchObject({ code: 'invalid_json', column: expect.any(Number) });
        return;
      }
      expect(JSON.stringify(value)).toBe(JSON.stringify(JSON.parse(text)));
    }),
    { numRuns: 2000 },
  );
});

test.each([
  ['', 1],
  [' ', 2],
  ['{"a":1,"a":2}', 8],
  ['{"a":1,"\\u0061":2}', 8],
  ['{"__proto__":1,"__proto__":2}', 16],
  ['[1,]', 4],
  ['{"a":1,}', 8],
  ['{a:1}', 2],
  ['01', 2],
  ['+1', 1],
  ['1.', 2],
  ['.5', 1],
  ['1e999', 1],
  ['NaN', 1],
  ['nul', 1],
  ['"\u0001"', 2],
  ['"\\x"', 3],
  ['"\\u12g4"', 4],
  ['"abc', 1],
  ['"\\ud800"', 1],
  ['"\ud800"', 1],
  ['{"\\udc00":1}', 2],
  ['1 2', 3],
  ['\u00a01', 1],
  ['\ufeff1', 1],
  ["'a'", 1],
  ['// x\n1', 1],
])('refuses %j at character %i', (text, column) => {
  expect(() => parseStrictJson(text)).toThrow(expect.objectContaining({ code: 'invalid_json', column }));
});

test('__proto__ and constructor are members like any other', () => {
  const object = readObject(parseStrictJson('{"__proto__":{"admin":true}}'), 'it');
  expect(Object.keys(object)).toEqual(['__proto__']);
  expect(object.admin).toBeUndefined();
  expect(object.constructor).toBeUndefined();
  expect(({} as { admin?: unknown }).admin).toBeUndefined();
});

test('nesting ends at the stated depth', () => {
  const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);
  expect(parseStrictJson(nested(32))).toBeDefined();
  expect(() => parseStrictJson(nested(33))).toThrow(expect.objectContaining({ code: 'invalid_json', column: 33 }));
  expect(() => parseStrictJson('{"a":[1]}', { maxDepth: 1 })).toThrow(expect.objectContaining({ column: 6 }));
  expect(() => parseStrictJson(nested(100_000))).toThrow(expect.objectContaining({ code: 'invalid_json' }));
});

test.each([
  ['bytes that are not UTF-8', [0x22, 0xff, 0x22]],
  ['an overlong encoding', [0x22, 0xc0, 0xaf, 0x22]],
  ['an encoded surrogate', [0x22, 0xed, 0xa0, 0x80, 0x22]],
  ['a byte order mark', [0xef, 0xbb, 0xbf, 0x31]],
])('refuses %s', (_, bytes) => {
  expect(() => parseStrictJsonBytes(Uint8Array.from(bytes))).toThrow(expect.objectContaining({ code: 'invalid_json' }));
});

test('readers give the value or name the member', () => {
  const value = readObject(parseStrictJson('{"s":"x","n":1.5,"c":3,"b":false,"a":["x"],"m":{"k":"v"}}'), 'it');
  expect(readString(value.s, 'it.s')).toBe('x');
  expect(readNumber(value.n, 'it.n')).toBe(1.5);
  expect(readCount(value.c, 'it.c')).toBe(3);
  expect(readBoolean(value.b, 'it.b')).toBe(false);
  expect(readStringArray(value.a, 'it.a')).toEqual(['x']);
  expect(readStringMap(value.m, 'it.m')).toEqual({ k: 'v' });
  expect(() => refuseUnknown(value, ['s', 'n', 'c', 'b', 'a', 'm'], 'it')).not.toThrow();
});

test.each([
  ['it', () => readObject([], 'it')],
  ['it', () => readObject(null, 'it')],
  ['it', () => readArray({}, 'it')],
  ['it.s', () => readString(1, 'it.s')],
  ['it.s', () => readString(undefined, 'it.s')],
  ['it.n', () => readNumber('1', 'it.n')],
  ['it.c', () => readCount(-1, 'it.c')],
  ['it.c', () => readCount(1.5, 'it.c')],
  ['it.c', () => readCount(2 ** 53, 'it.c')],
  ['it.b', () => readBoolean(0, 'it.b')],
  ['it.a[1]', () => readStringArray(['x', 1], 'it.a')],
  ['it.m.k', () => readStringMap({ k: 1 }, 'it.m')],
  ['it', () => refuseUnknown({ x: 1 }, ['y'], 'it')],
])('a wrong member is named: %s', (field, read) => {
  expect(read).toThrow(expect.objectContaining({ code: 'invalid_json', field }));
});
