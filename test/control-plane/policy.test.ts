// Every RPC stands in the policy table, and the table is what the server does.
import { randomUUID } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { Code } from '@connectrpc/connect';
import { signNodeAssertion } from '@daypass/core/node-auth';
import { expect, test } from 'vitest';
import { accessOf, policy } from '../../control-plane/rpc/policy.ts';
import { services } from '../../control-plane/rpc/routes.ts';
import { type Home, startControl } from './fixture.ts';

const methods = services.flatMap(({ methods }) => methods);
const nameOf = (method: (typeof methods)[number]): string => `${method.parent.typeName}/${method.name}`;

test('every RPC of every service stands in the table, and nothing else does', () => {
  expect(methods.map(nameOf).sort()).toEqual(Object.keys(policy).sort());
});

test('an RPC that is not listed is denied', () => {
  const [method] = methods;
  if (method === undefined) throw new Error('no methods');
  expect(accessOf({ ...method, name: 'Unlisted' })).toBeUndefined();
  expect(accessOf({ ...method, name: 'constructor', parent: { ...method.parent, typeName: '' } })).toBeUndefined();
});

/** The Connect code of a call with an empty message; undefined: it was let in. */
const knock = async (
  url: string,
  method: (typeof methods)[number],
  credential: string,
): Promise<string | undefined> => {
  const stream = method.methodKind !== 'unary';
  const response = await fetch(`${url}/${nameOf(method)}`, {
    method: 'POST',
    headers: {
      'content-type': stream ? 'application/connect+json' : 'application/json',
      ...(credential === '' ? {} : { authorization: credential }),
    },
    body: stream ? new Uint8Array([0, 0, 0, 0, 2, 0x7b, 0x7d]) : '{}',
    signal: AbortSignal.timeout(5000),
  });
  if (method.methodKind === 'bidi_streaming') return undefined;
  const text = stream ? await firstMessage(response) : await response.text();
  const { code, error } = JSON.parse(text) as { code?: string; error?: { code?: string } };
  const found = code ?? error?.code;
  return found === 'unauthenticated' || found === 'permission_denied' ? found : undefined;
};

/** The JSON of a stream's first envelope. */
const firstMessage = async (response: Response): Promise<string> => {
  const reader = response.body?.getReader();
  const { value } = (await reader?.read()) ?? {};
  await reader?.cancel();
  if (value === undefined) return '{}';
  const length = Buffer.from(value).readUInt32BE(1);
  return new TextDecoder().decode(value.slice(5, 5 + length)) || '{}';
};

const DENIED = 'permission_denied';
const UNKNOWN = 'unauthenticated';
/** What each kind of caller is told, by what the RPC asks. */
const expected = {
  anyone: { nobody: undefined, stranger: undefined, caller: undefined, admin: undefined, node: undefined },
  caller: { nobody: UNKNOWN, stranger: UNKNOWN, caller: undefined, admin: undefined, node: DENIED },
  admin: { nobody: UNKNOWN, stranger: UNKNOWN, caller: DENIED, admin: undefined, node: DENIED },
  node: { nobody: UNKNOWN, stranger: UNKNOWN, caller: DENIED, admin: DENIED, node: undefined },
} as const;

test('each RPC lets in whom the table says, by the code that others get', async () => {
  await using control = await startControl();
  const { apiKey } = await control.admin.callers.create({ caller: { name: 'bot' } });
  const credentials = {
    nobody: '',
    stranger: `Bearer dpk_${'A'.repeat(43)}`,
    caller: `Bearer ${apiKey}`,
    admin: `Bearer ${control.home.adminKey}`,
  };
  // An assertion is good for one call.
  const credentialOf = async (who: keyof typeof credentials | 'node'): Promise<string> =>
    who === 'node' ? `Bearer ${await assertion(control.home, 'node-1')}` : credentials[who];
  const wrong: string[] = [];
  for (const method of methods) {
    const access = accessOf(method) ?? 'anyone';
    for (const who of ['nobody', 'stranger', 'caller', 'admin', 'node'] as const) {
      const told = await knock(control.url, method, await credentialOf(who));
      // Ingest and Report say permission_denied to a node for another's name, too: an empty one.
      const own = who === 'node' && access === 'node' && told === DENIED;
      if (told !== expected[access][who] && !own) wrong.push(`${nameOf(method)} as ${who}: ${told}`);
    }
  }
  expect(wrong).toEqual([]);
});

const assertion = (home: Home, node: string): Promise<string> => {
  const key = home.nodes.get(node);
  if (key === undefined) throw new Error('no such node');
  return signNodeAssertion({ node, fleet: home.fleet, now: Date.now() / 1000, jti: randomUUID() }, key);
};

test('a credential in another form, twice over, or of a node that is not enrolled is no credential', async () => {
  await using control = await startControl();
  const method = methods.find(({ name }) => name === 'WhoAmI');
  if (method === undefined) throw new Error('no WhoAmI');
  const other = await assertion({ ...control.home, fleet: 'urn:daypass:fleet:AAAAAAAAAAAAAAAAAAAAAA' }, 'node-1');
  for (const credential of [
    `Basic ${control.home.adminKey}`,
    control.home.adminKey,
    `Bearer ${control.home.adminKey}x`,
    `Bearer ${control.home.adminKey}, Bearer ${control.home.adminKey}`,
    'Bearer',
    'Bearer a.b.c',
    `Bearer ${other}`,
  ]) {
    expect([credential.slice(0, 12), await knock(control.url, method, credential)]).toEqual([
      credential.slice(0, 12),
      UNKNOWN,
    ]);
  }
});

test('a node that was taken out of the file cannot connect, though the database knows it', async () => {
  await using before = await startControl();
  await before.asNode('node-2').snapshots.get({});
  const file = `${before.home.path}/control/nodes.json`;
  const { nodes } = JSON.parse(await readFile(file, 'utf8')) as { nodes: { name: string }[] };
  await writeFile(file, JSON.stringify({ v: 1, nodes: nodes.filter(({ name }) => name !== 'node-2') }));
  await before.app.close();
  await using after = await startControl({ home: before.home });
  await expect(after.asNode('node-2').snapshots.get({})).rejects.toMatchObject({ code: Code.Unauthenticated });
  await expect(after.asNode('node-1').snapshots.get({})).resolves.toBeDefined();
});
