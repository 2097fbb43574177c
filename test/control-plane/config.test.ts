// Settings: the defaults of the manual, and what is derived from what.
import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { parseConfig } from '../../control-plane/config.ts';

test('without settings it is the control plane of this machine', () => {
  const config = parseConfig({});
  expect(config.databaseUrl.reveal()).toBe(`sqlite:${resolve('.daypass')}/control/daypass.db`);
  expect(config).toEqual({
    home: resolve('.daypass'),
    listen: { host: '127.0.0.1', port: 8480 },
    tls: undefined,
    databaseUrl: config.databaseUrl,
    databaseConnections: 10,
    issuer: 'http://127.0.0.1:8480',
    leaseMs: 3_600_000,
    historyMs: 2_592_000_000,
    allowUpstreamRanges: [],
    ownListeners: [
      { host: '127.0.0.1', port: 8480 },
      { host: '127.0.0.1', port: 8470 },
      { host: '127.0.0.1', port: 8471 },
    ],
    logLevel: 'info',
  });
  expect(Object.isFrozen(config)).toBe(true);
});

test.each([
  [{ DAYPASS_CONTROL_URL: 'https://control.example.com/' }, 'https://control.example.com'],
  [
    { DAYPASS_ISSUER: 'https://issuer.example.com/a/', DAYPASS_CONTROL_URL: 'https://x.test' },
    'https://issuer.example.com/a',
  ],
  [
    { DAYPASS_CONTROL_TLS_CERT: 'c', DAYPASS_CONTROL_TLS_KEY: 'k', DAYPASS_CONTROL_LISTEN: '0.0.0.0:1' },
    'https://127.0.0.1:1',
  ],
  [{ DAYPASS_CONTROL_LISTEN: '[::1]:8480' }, 'http://[::1]:8480'],
])('%j is the issuer %s', (env, issuer) => {
  expect(parseConfig(env).issuer).toBe(issuer);
});

test.each([
  ['DAYPASS_CONTROL_LISTEN', '127.0.0.1'],
  ['DAYPASS_CONTROL_LISTEN', '127.0.0.1:70000'],
  ['DAYPASS_CONTROL_LISTEN', '192.0.2.1:8480'],
  ['DAYPASS_DATA_LISTEN', 'x'],
  ['DAYPASS_DATA_ADMIN_LISTEN', ':1'],
  ['DAYPASS_LEASE', '1'],
  ['DAYPASS_LEASE', '59s'],
  ['DAYPASS_LEASE', '25h'],
  ['DAYPASS_LEASE', '60500ms'],
  ['DAYPASS_SNAPSHOT_HISTORY', '59m'],
  ['DAYPASS_SNAPSHOT_HISTORY', '3651d'],
  ['DAYPASS_INSECURE_LISTEN', 'yes'],
  ['DAYPASS_DATABASE_URL', 'sqlite:'],
  ['DAYPASS_DATABASE_URL', 'sqlite::memory:'],
  ['DAYPASS_DATABASE_URL', 'postgres://host/db'],
  ['DAYPASS_DATABASE_URL', 'postgres://u@host/db?sslmode=prefer'],
  ['DAYPASS_DATABASE_CONNECTIONS', '2'],
  ['DAYPASS_ALLOW_UPSTREAM_RANGES', '10.0.0.0/8, nonsense'],
  ['DAYPASS_ISSUER', 'ftp://x'],
  ['DAYPASS_ISSUER', 'https://x/?a'],
  ['DAYPASS_CONTROL_URL', 'https://user@x'],
  ['DAYPASS_LOG_LEVEL', 'loud'],
  ['DAYPASS_CONTROL_TLS_KEY', 'only'],
])('%s=%s is refused by the name of a variable', (name, value) => {
  const error = (() => {
    try {
      return parseConfig({ [name]: value });
    } catch (thrown) {
      return thrown;
    }
  })();
  expect(error).toMatchObject({ code: 'config_invalid', message: expect.stringMatching(/^DAYPASS_[A-Z_]+: /) });
});

test('an address that others reach needs TLS, or the word of the operator', () => {
  const open = { DAYPASS_CONTROL_LISTEN: '0.0.0.0:8480' };
  expect(() => parseConfig(open)).toThrow('DAYPASS_CONTROL_LISTEN');
  expect(parseConfig({ ...open, DAYPASS_INSECURE_LISTEN: '1' }).listen.host).toBe('0.0.0.0');
});
