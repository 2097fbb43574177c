// The planes' own listeners are never an upstream, whatever is allowed and wherever their names point.
import type { Endpoint } from '@daypass/core/address';
import { expect, onTestFinished, test } from 'vitest';
import { listenerEndpoints, urlEndpoints } from '../../data-plane/own-addresses.ts';
import { createCurrentPolicy } from '../../data-plane/upstream-policy.ts';
import { memoryLog } from './audit/records.ts';

type Setup = {
  readonly listeners?: readonly Endpoint[];
  readonly controlUrls?: readonly string[];
  readonly resolve?: (origin: string) => Promise<readonly Endpoint[]>;
};

async function policyOf({ listeners = [], controlUrls = ['http://127.0.0.1:8480'], resolve }: Setup) {
  const { log, lines } = memoryLog();
  const allow = ['127.0.0.0/8', '::1', '10.0.0.0/8'];
  const policy = createCurrentPolicy({
    allow,
    listeners: () => listeners,
    controlUrls,
    log,
    ...(resolve === undefined ? {} : { resolve }),
  });
  onTestFinished(() => policy[Symbol.dispose]());
  await policy.refresh();
  const dial = (ip: string, port: number) => {
    try {
      policy.checkAddress(ip, port);
      return 'allowed';
    } catch {
      return 'refused';
    }
  };
  return { policy, dial, lines };
}

test.each([
  ['127.0.0.1', 8470, 'refused'],
  ['127.0.0.1', 8471, 'refused'],
  ['127.0.0.1', 8480, 'refused'],
  ['::ffff:127.0.0.1', 8470, 'refused'],
  ['127.0.0.1', 8490, 'allowed'],
  ['10.1.2.3', 8490, 'allowed'],
])('%s port %i is %s beside listeners on the loopback', async (ip, port, expected) => {
  const listeners = [
    { host: '127.0.0.1', port: 8470 },
    { host: '127.0.0.1', port: 8471 },
  ];
  const { dial } = await policyOf({ listeners });
  expect(dial(ip, port)).toBe(expected);
});

test('a listener on every address is found at each of them', async () => {
  const { dial } = await policyOf({ listeners: [{ host: '0.0.0.0', port: 8470 }] });
  for (const { host } of listenerEndpoints({ host: '0.0.0.0', port: 8470 })) expect(dial(host, 8470)).toBe('refused');
  expect(dial('127.0.0.1', 8490)).toBe('allowed');
});

test('the control plane is refused wherever its name points, and when that changes', async () => {
  let address = '10.0.0.5';
  const resolve = async () => [{ host: address, port: 8480 }];
  const { policy, dial } = await policyOf({ controlUrls: ['http://control:8480'], resolve });
  expect([dial('10.0.0.5', 8480), dial('10.0.0.6', 8480)]).toEqual(['refused', 'allowed']);
  address = '10.0.0.6';
  await policy.refresh();
  expect([dial('10.0.0.5', 8480), dial('10.0.0.6', 8480)]).toEqual(['allowed', 'refused']);
});

test('every control plane of the list is refused, also when one of the names cannot be resolved', async () => {
  const resolve = async (url: string) => {
    if (url === 'http://lost:8482') throw new Error('ENOTFOUND');
    return [{ host: url === 'http://a:8480' ? '10.0.0.5' : '10.0.0.6', port: Number(new URL(url).port) }];
  };
  const controlUrls = ['http://a:8480', 'http://b:8481', 'http://lost:8482'];
  const { dial, lines } = await policyOf({ controlUrls, resolve });
  expect([dial('10.0.0.5', 8480), dial('10.0.0.6', 8481)]).toEqual(['refused', 'refused']);
  expect([dial('10.0.0.5', 8482), dial('10.0.0.9', 8482)]).toEqual(['refused', 'refused']);
  expect([dial('10.0.0.5', 8481), dial('10.0.0.6', 8480)]).toEqual(['allowed', 'allowed']);
  expect(lines).toHaveLength(1);
});

test('a name that cannot be resolved stands for every inner address at its port, and is logged once', async () => {
  const resolve = () => Promise.reject(new Error('ENOTFOUND'));
  const { policy, dial, lines } = await policyOf({ controlUrls: ['http://control:8480'], resolve });
  await policy.refresh();
  expect([dial('10.0.0.5', 8480), dial('10.0.0.5', 8490)]).toEqual(['refused', 'allowed']);
  expect(lines).toHaveLength(1);
});

test.each([
  ['http://127.0.0.1:8480', [{ host: '127.0.0.1', port: 8480 }]],
  ['https://[::1]', [{ host: '::1', port: 443 }]],
  ['http://10.0.0.1', [{ host: '10.0.0.1', port: 80 }]],
])('%s is at its address and port', async (url, endpoints) => {
  expect(await urlEndpoints(url)).toEqual(endpoints);
});

test('localhost is found', async () => {
  expect((await urlEndpoints('http://localhost:8480')).every(({ port }) => port === 8480)).toBe(true);
});
