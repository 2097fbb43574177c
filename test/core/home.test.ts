// The home's three folders are apart.

import { controlPaths, dataPaths, rootPaths, sealingKeyPath } from '@daypass/core/home';
import { expect, test } from 'vitest';

test('every name lies in its own folder, and no two are the same', () => {
  const homes = [rootPaths('/h'), controlPaths('/h'), dataPaths('/h')];
  for (const { folder, ...files } of homes) {
    for (const file of Object.values(files)) expect(file.startsWith(`${folder}/`)).toBe(true);
  }
  const all = homes.flatMap((paths) => Object.values(paths));
  expect(new Set(all).size).toBe(all.length);
});

test('names are those that operators rely on', () => {
  expect(rootPaths('.daypass').key).toBe('.daypass/root/fleet-root.jwk');
  expect(controlPaths('.daypass').adminKey).toBe('.daypass/control/admin.key');
  expect(controlPaths('.daypass').database).toBe('.daypass/control/daypass.db');
  expect(sealingKeyPath('.daypass', 'ab_-9')).toBe('.daypass/data/sealing/ab_-9.jwk');
});

test.each(['', '..', 'a/b', '../x', 'a.b', 'a\u0000'])('a key id %j cannot leave its folder', (kid) => {
  expect(() => sealingKeyPath('/h', kid)).toThrow(expect.objectContaining({ code: 'invalid_argument', field: 'kid' }));
});
