// The data plane's settings: sound defaults, and every problem at once, each with its variable.
import { expect, test } from 'vitest';
import { parseConfig } from '../../data-plane/config.ts';
import type { Environment } from '../../data-plane/settings.ts';

/** The variables that the error names, one a line. */
function problems(env: Environment): readonly string[] {
  try {
    parseConfig(env);
    return [];
  } catch (error) {
    expect(error).toMatchObject({ code: 'config_invalid' });
    return error instanceof Error ? error.message.split('\n').map((line) => line.split(':')[0] ?? '') : [];
  }
}

test('without any setting both ports are on the loopback', () => {
  expect(parseConfig({})).toMatchObject({
    listen: { host: '127.0.0.1', port: 8470 },
    adminListen: { host: '127.0.0.1', port: 8471 },
    controlUrls: ['http://127.0.0.1:8480'],
    publicUrl: undefined,
    tls: undefined,
    allowUpstreamRanges: [],
    auditSpoolBytes: 1024 ** 3,
    maxInFlight: 1024,
    serverTiming: false,
    dpopNonce: 'auto',
    logLevel: 'info',
  });
});

test('the result is frozen', () => {
  const config = parseConfig({});
  expect([config, config.listen, config.adminListen, config.allowUpstreamRanges].every(Object.isFrozen)).toBe(true);
});

test('an empty variable is an unset one', () => {
  expect(parseConfig({ DAYPASS_DATA_LISTEN: '', DAYPASS_LOG_LEVEL: ' ' })).toEqual(parseConfig({}));
});

const open = { DAYPASS_INSECURE_LISTEN: '1', DAYPASS_DATA_PUBLIC_URL: 'https://api.example.com' };
test.each<[string, Environment, object]>([
  ['a port of its own choice', { DAYPASS_DATA_LISTEN: '127.0.0.1:0' }, { listen: { host: '127.0.0.1', port: 0 } }],
  ['IPv6', { DAYPASS_DATA_LISTEN: '[::1]:8470' }, { listen: { host: '::1', port: 8470 } }],
  ['a name of this machine', { DAYPASS_DATA_LISTEN: 'localhost:8470' }, { listen: { host: 'localhost', port: 8470 } }],
  ['an open listener', { ...open, DAYPASS_DATA_LISTEN: '0.0.0.0:80' }, { publicUrl: 'https://api.example.com' }],
  [
    'TLS',
    {
      DAYPASS_DATA_LISTEN: '0.0.0.0:443',
      DAYPASS_DATA_PUBLIC_URL: 'https://api.example.com/',
      DAYPASS_DATA_TLS_CERT: 'cert.pem',
      DAYPASS_DATA_TLS_KEY: 'key.pem',
    },
    { tls: { certPath: 'cert.pem', keyPath: 'key.pem' }, publicUrl: 'https://api.example.com' },
  ],
  [
    'a control plane elsewhere',
    { DAYPASS_CONTROL_URL: 'https://control.example.com' },
    { controlUrls: ['https://control.example.com'] },
  ],
  [
    'several control planes, each once',
    { DAYPASS_CONTROL_URL: 'https://a.example/, https://b.example:8480,https://a.example' },
    { controlUrls: ['https://a.example', 'https://b.example:8480'] },
  ],
  ['one on every address', { DAYPASS_CONTROL_LISTEN: '0.0.0.0:9000' }, { controlUrls: ['http://127.0.0.1:9000'] }],
  ['one with TLS', { DAYPASS_CONTROL_TLS_CERT: 'cert.pem' }, { controlUrls: ['https://127.0.0.1:8480'] }],
  [
    'ranges',
    { DAYPASS_ALLOW_UPSTREAM_RANGES: '10.0.0.0/8, 127.0.0.1:8490  [fd00::/8]:443' },
    { allowUpstreamRanges: ['10.0.0.0/8', '127.0.0.1:8490', '[fd00::/8]:443'] },
  ],
  ['a size', { DAYPASS_AUDIT_SPOOL_BYTES: '512MiB' }, { auditSpoolBytes: 512 * 1024 ** 2 }],
  ['a size in bytes', { DAYPASS_AUDIT_SPOOL_BYTES: '1048576' }, { auditSpoolBytes: 1024 ** 2 }],
  ['flags', { DAYPASS_SERVER_TIMING: '1' }, { serverTiming: true }],
  ['nonces', { DAYPASS_DPOP_NONCE: 'always' }, { dpopNonce: 'always' }],
  ['a level', { DAYPASS_LOG_LEVEL: 'debug' }, { logLevel: 'debug' }],
])('takes %s', (_name, env, expected) => {
  expect(parseConfig(env)).toMatchObject(expected);
});

test.each<[string, Environment, readonly string[]]>([
  ['no port', { DAYPASS_DATA_LISTEN: '127.0.0.1' }, ['DAYPASS_DATA_LISTEN']],
  ['a port too large', { DAYPASS_DATA_ADMIN_LISTEN: '127.0.0.1:70000' }, ['DAYPASS_DATA_ADMIN_LISTEN']],
  [
    'an open listener without TLS',
    { DAYPASS_DATA_LISTEN: '0.0.0.0:80', DAYPASS_DATA_PUBLIC_URL: 'https://a.example' },
    ['DAYPASS_DATA_LISTEN'],
  ],
  [
    'an open listener without a public URL',
    { DAYPASS_DATA_LISTEN: '0.0.0.0:80', DAYPASS_INSECURE_LISTEN: '1' },
    ['DAYPASS_DATA_PUBLIC_URL'],
  ],
  [
    'an address that looks like the loopback',
    { ...open, DAYPASS_INSECURE_LISTEN: '0', DAYPASS_DATA_LISTEN: '127.0.0.1.example.com:80' },
    ['DAYPASS_DATA_LISTEN'],
  ],
  ['an open admin port', { DAYPASS_DATA_ADMIN_LISTEN: '0.0.0.0:8471' }, ['DAYPASS_DATA_ADMIN_LISTEN']],
  ['one port for both', { DAYPASS_DATA_ADMIN_LISTEN: '127.0.0.1:8470' }, ['DAYPASS_DATA_ADMIN_LISTEN']],
  ['a certificate without a key', { DAYPASS_DATA_TLS_CERT: 'cert.pem' }, ['DAYPASS_DATA_TLS_KEY']],
  ['a key without a certificate', { DAYPASS_DATA_TLS_KEY: 'key.pem' }, ['DAYPASS_DATA_TLS_CERT']],
  ['a control URL with a path', { DAYPASS_CONTROL_URL: 'http://127.0.0.1:8480/api' }, ['DAYPASS_CONTROL_URL']],
  ['a control URL with a user', { DAYPASS_CONTROL_URL: 'http://a:b@127.0.0.1' }, ['DAYPASS_CONTROL_URL']],
  ['a control URL of another scheme', { DAYPASS_CONTROL_URL: 'ftp://127.0.0.1' }, ['DAYPASS_CONTROL_URL']],
  [
    'one bad control URL of three',
    { DAYPASS_CONTROL_URL: 'https://a.example,b.example,https://c.example' },
    ['DAYPASS_CONTROL_URL'],
  ],
  [
    'too many control URLs',
    { DAYPASS_CONTROL_URL: Array.from({ length: 17 }, (_, at) => `https://c${at}.example`).join(',') },
    ['DAYPASS_CONTROL_URL'],
  ],
  ['a public URL that is none', { DAYPASS_DATA_PUBLIC_URL: 'api.example.com' }, ['DAYPASS_DATA_PUBLIC_URL']],
  [
    'bad ranges, each',
    { DAYPASS_ALLOW_UPSTREAM_RANGES: '10.0.0.0/40,nowhere' },
    ['DAYPASS_ALLOW_UPSTREAM_RANGES', 'DAYPASS_ALLOW_UPSTREAM_RANGES'],
  ],
  ['a spool too small', { DAYPASS_AUDIT_SPOOL_BYTES: '1000' }, ['DAYPASS_AUDIT_SPOOL_BYTES']],
  ['a size without sense', { DAYPASS_AUDIT_SPOOL_BYTES: '1 GB' }, ['DAYPASS_AUDIT_SPOOL_BYTES']],
  ['no nonces', { DAYPASS_DPOP_NONCE: 'never' }, ['DAYPASS_DPOP_NONCE']],
  ['no requests at all', { DAYPASS_MAX_IN_FLIGHT: '0' }, ['DAYPASS_MAX_IN_FLIGHT']],
  ['a flag that is neither', { DAYPASS_INSECURE_LISTEN: 'yes' }, ['DAYPASS_INSECURE_LISTEN']],
  ['an unknown level', { DAYPASS_LOG_LEVEL: 'loud' }, ['DAYPASS_LOG_LEVEL']],
])('refuses %s and names the variable', (_name, env, expected) => {
  expect(problems(env)).toEqual(expected);
});

test('of several control planes the bad one is named', () => {
  const env = { DAYPASS_CONTROL_URL: 'https://a.example,b.example,https://c.example' };
  expect(() => parseConfig(env)).toThrow(
    'DAYPASS_CONTROL_URL: "b.example" is not a URL such as https://daypass.example.com',
  );
});

test('all problems are reported together', () => {
  const env = {
    DAYPASS_DATA_LISTEN: 'nowhere',
    DAYPASS_CONTROL_URL: 'nowhere',
    DAYPASS_MAX_IN_FLIGHT: 'many',
    DAYPASS_LOG_LEVEL: 'loud',
  };
  expect(problems(env).toSorted()).toEqual(Object.keys(env).toSorted());
});
