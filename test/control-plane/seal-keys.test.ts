// Sealing keys that are retired: nothing is sealed to one any more, whichever control plane is asked, and none that is needed goes.
import { readFile, writeFile } from 'node:fs/promises';
import { encodeBase64url } from '@daypass/core/base64url';
import { controlPaths } from '@daypass/core/home';
import { generateSealingKey, signKeyStatement } from '@daypass/core/key';
import { sealCredential } from '@daypass/core/seal';
import { CredentialPlace_Kind } from '@daypass/sdk/gen/daypass/v1/service_pb';
import { expect, test } from 'vitest';
import { errorOf, type Home, makeHome, sealFor, startControl } from './fixture.ts';

const upstream = 'https://api.example.com';
const NO_WAIT = { wait: { seconds: 0n } };
const ID = '0123456789abcdef0123456789abcdef';

/** A home whose pool has another sealing key, which comes first. */
const makeHomeWithTwo = async (): Promise<Home> => {
  const home = await makeHome({ 'node-1': 'default', 'node-2': 'default' });
  const file = controlPaths(home.path).sealingKeys;
  const lists = JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown[]>;
  const { kid, publicJwk: jwk } = await generateSealingKey();
  const what = { v: 1, fleet: home.fleet, pool: 'default', use: 'seal', kid, jwk, not_after: 4_000_000_000 } as const;
  const { statement, signature } = await signKeyStatement(what, home.rootKey);
  const text = { statement: encodeBase64url(statement), signature: encodeBase64url(signature) };
  await writeFile(file, JSON.stringify({ ...lists, default: [text, ...(lists.default ?? [])] }));
  return home;
};

const serviceOf = async (home: Home, name: string) => ({
  ...{ name, upstream, place: { kind: CredentialPlace_Kind.BEARER }, credentialId: ID },
  sealedCredential: await sealFor(home, name),
});

test('what is sealed to a key that another control plane has just retired is taken by none', async () => {
  const home = await makeHomeWithTwo();
  const [a, b] = [await startControl({ home }), await startControl({ home })];
  const { origins, kid } = { origins: [upstream], kid: home.sealing.kid };
  const other = (await b.admin.keys.getSealingKeys({})).keys[0];
  const { kid: otherKid, jwk } = JSON.parse(Buffer.from(other?.statement ?? []).toString()) as {
    readonly kid: string;
    readonly jwk: Parameters<typeof sealCredential>[1]['jwk'];
  };
  const seal = { v: 1, id: ID, fleet: home.fleet, pool: 'default', service: 'living', origins } as const;
  const bounds = { place: { kind: 'bearer' }, rules: ['* /**'], callers: ['*'], nbf: 0, exp: 4_000_000_000 } as const;
  const sealedCredential = await sealCredential({ ...seal, ...bounds, secret: 's' }, { kid: otherKid, jwk });
  const living = { ...(await serviceOf(home, 'living')), sealedCredential };
  await b.admin.services.create({ service: living, ...NO_WAIT });

  await a.admin.keys.retire({ kid, ...NO_WAIT });
  const refused = [
    b.admin.services.create({ service: await serviceOf(home, 'late'), ...NO_WAIT }),
    b.admin.services.update({
      service: { ...living, sealedCredential: await sealFor(home, 'living') },
      updateMask: { paths: ['sealed_credential'] },
      ...NO_WAIT,
    }),
    b.admin.tokens.mint({ service: 'living', allow: ['GET /a'], sealedCredential: await sealFor(home, 'living') }),
  ];
  const messages = (await Promise.all(refused.map(errorOf))).map((error) => (error as Error).message);
  for (const message of messages) expect(message).toContain('sealed to a key that');
  expect((await b.admin.services.get({ name: 'living' })).service?.sealedCredential).toBe(sealedCredential);
  await Promise.all([a.app.close(), b.app.close()]);
  await home.remove();
});

test('a key that a change which some nodes have first is sealed to is not retired', async () => {
  const home = await makeHomeWithTwo();
  const control = await startControl({ home });
  for (const node of ['node-1', 'node-2']) {
    const lease = { leaseExpiresAt: { seconds: BigInt(Math.floor(Date.now() / 1000) + 3600) } };
    await control.asNode(node).snapshots.report({ node, version: 1n, digest: 'ab'.repeat(32), ...lease });
  }
  await control.admin.services.create({
    service: await serviceOf(home, 'github'),
    canary: { nodes: ['node-1'] },
    ...NO_WAIT,
  });
  const { kid } = home.sealing;
  expect(await errorOf(control.admin.keys.retire({ kid }))).toMatchObject({
    rawMessage: expect.stringContaining('is needed by github'),
  });
  await control.admin.releases.takeBack({ ...NO_WAIT });
  await control.admin.keys.retire({ kid, ...NO_WAIT });
  await control.app.close();
  await home.remove();
});
