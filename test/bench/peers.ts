// The other proxies: those of npm always, HAProxy and nginx where they are installed.
import { generateKeyPairSync } from 'node:crypto';
import { CLAIMS, child, peerSubject, pem, type Setting, sign } from './peer.ts';
import type { Subject } from './subject.ts';
import { hasHaproxy, hasNginx, startHaproxyJwt, startHaproxySwap, startNginx } from './system-peers.ts';

/** Every row that is not Daypass: how to start it, by its name; undefined: it is not installed here. */
export const peers: Readonly<Record<string, ((setting: Setting) => Promise<Subject>) | undefined>> = {
  bare: (setting) => startBare(setting),
  'fastify-http-proxy': startFastify,
  'http-proxy-3': startHttpProxy,
  'haproxy-es256': hasHaproxy ? (setting) => startHaproxyJwt(setting, 'ES256') : undefined,
  'haproxy-rs256': hasHaproxy ? (setting) => startHaproxyJwt(setting, 'RS256') : undefined,
  'haproxy-swap': hasHaproxy ? startHaproxySwap : undefined,
  nginx: hasNginx ? startNginx : undefined,
};

/** The bare pass-through; with the files of a certificate and its key, under TLS. */
export async function startBare(setting: Setting, ...certificate: readonly string[]): Promise<Subject> {
  const listening = await child(setting, 'bare.ts', `http://${setting.upstream}`, ...certificate);
  return peerSubject('bare', 'bare node:http + undici', listening, setting);
}

async function startFastify(setting: Setting): Promise<Subject> {
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const upstream = `http://${setting.upstream}`;
  const listening = await child(setting, 'fastify.mjs', JSON.stringify({ upstream, publicKey: pem(keys), ...CLAIMS }));
  const title = '@fastify/http-proxy + jwt, cached';
  return peerSubject('fastify-http-proxy', title, listening, setting, await sign('ES256', keys.privateKey));
}

async function startHttpProxy(setting: Setting): Promise<Subject> {
  const listening = await child(setting, 'http-proxy.mjs', JSON.stringify({ upstream: `http://${setting.upstream}` }));
  return peerSubject('http-proxy-3', 'http-proxy-3, no check', listening, setting);
}
