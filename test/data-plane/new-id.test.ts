import { expect, test } from 'vitest';
import { createNewId } from '../../data-plane/new-id.ts';

test('ids are 128 bits as base64url, and none comes twice over many draws', () => {
  const newId = createNewId();
  const ids = Array.from({ length: 2_000 }, () => newId());
  expect(new Set(ids).size).toBe(2_000);
  for (const id of ids) expect(id).toMatch(/^[A-Za-z0-9_-]{22}$/);
});
