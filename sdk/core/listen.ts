// Listen addresses: reading them, and telling who can reach one.

/** Where something listens. `host` has no brackets. */
export type Listen = { readonly host: string; readonly port: number };

/** `127.0.0.1:8470`, `[::1]:8470`, `localhost:8470`; undefined for anything else. */
export const parseListen = (value: string): Listen | undefined => {
  const match = /^(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9._-]{1,253})):(\d{1,5})$/.exec(value);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  return host !== undefined && port <= 65_535 ? { host, port } : undefined;
};

/** Whether a listener's host stands for every address of the machine. */
export const isWildcard = (host: string): boolean => /^(?:0\.0\.0\.0|[0:]+)$/.test(host);

/** Whether only this machine reaches a host. */
export const isLoopback = (host: string): boolean =>
  /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host) || host === '::1' || host.toLowerCase() === 'localhost';

/** Where a listener is found, as a URL's origin. A listener on every address is found on the loopback. */
export const listenOrigin = (scheme: 'http' | 'https', { host, port }: Listen): string => {
  const reachable = isWildcard(host) ? (host.includes(':') ? '::1' : '127.0.0.1') : host;
  return `${scheme}://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`;
};
