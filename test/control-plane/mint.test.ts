// Minting: who may, what for, for how long, with which credential.
import { expect, test } from 'vitest';
import { startControl, sealFor } from './fixture.ts';

test('a minted token names its service, rules and end', async () => {
  await using control = await startControl();
  const { admin, home } = control;
  await admin.services.create({
    service: {
      name: 'github',
      upstream: 'https://api.example.com',
      place: { kind: 1 },
      sealedCredential: await sealFor(home, 'github'),
      credentialId: '0123456789abcdef0123456789abcdef',
    },
  });
  const minted = await admin.tokens.mint({ service: 'github', allow: ['GET /repos/**'] });
  expect(minted.allow).toEqual(['GET /repos/**']);
});
