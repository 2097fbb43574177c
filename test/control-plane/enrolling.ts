// A data plane that enrols at a control plane of a test, and then speaks with its own key.
import { createHash, randomBytes } from 'node:crypto';
import { createClient, type Interceptor } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { signEnrolment } from '@daypass/core/enrolment';
import { type CryptoKey, type GeneratedKey, generateSigningKey, importEd25519 } from '@daypass/core/key';
import { signNodeAssertion } from '@daypass/core/node-auth';
import { NodeService } from '@daypass/sdk/gen/daypass/v1/node_pb';
import { clientsOf, type Running } from './fixture.ts';

/** What stands in an Enrol; a test changes what it likes. */
export const enrolRequest = async (token: string, name: string, key: GeneratedKey) => {
  const { kty, crv, x } = key.publicJwk;
  const tokenHash = createHash('sha256').update(token).digest('hex');
  const proof = await signEnrolment(
    { tokenHash, name, jwk: key.publicJwk },
    await importEd25519(key.privateJwk, 'sign'),
  );
  return { token, name, jwk: JSON.stringify({ kty, crv, x }), proof };
};

/** Enrols with a key, which is a fresh one where none is given. */
export const enrol = async (control: Running, token: string, name = '', key?: GeneratedKey) => {
  const own = key ?? (await generateSigningKey());
  const enrolled = await control.client(NodeService).enrol(await enrolRequest(token, name, own));
  return { enrolled, key: own, clients: clientsAs(control, enrolled.name, own) };
};

/** Makes a token and enrols with it. */
export const enrolNew = async (control: Running, name: string, pool = '') => {
  const { token } = await control.admin.nodes.createEnrolment({ pool, name });
  return enrol(control, token);
};

/** Clients that speak as a node with a key. */
export const clientsAs = (control: Pick<Running, 'url' | 'home'>, node: string, key: GeneratedKey) => {
  let imported: Promise<CryptoKey> | undefined;
  const asNode: Interceptor = (next) => async (request) => {
    imported ??= importEd25519(key.privateJwk, 'sign');
    const claims = { node, fleet: control.home.fleet, now: Date.now() / 1000, jti: randomBytes(16).toString('hex') };
    request.header.set('authorization', `Bearer ${await signNodeAssertion(claims, await imported)}`);
    return next(request);
  };
  return clientsOf(createConnectTransport({ baseUrl: control.url, httpVersion: '1.1', interceptors: [asNode] }));
};

/** A client of NodeService as anyone. */
export const anyone = (url: string) =>
  createClient(NodeService, createConnectTransport({ baseUrl: url, httpVersion: '1.1' }));
