// A data plane's home with fresh keys.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { generateSealingKey, generateSigningKey, type PublicJwk } from '@daypass/core/key';
import { freshFolder } from './audit/records.ts';
import { FLEET } from './snapshot/fleet.ts';

export const root = await generateSigningKey();
export const node = await generateSigningKey();
export const sealing = await generateSealingKey();
export const paths = { fleet: 'data/fleet.json', node: 'data/node.json', key: 'data/node.jwk' };
export const sealingPath = `data/sealing/${sealing.kid}.jwk`;

/** Writes a file of the home, as JSON unless it is text. */
export function write(home: string, path: string, content: unknown): void {
  writeFileSync(join(home, path), typeof content === 'string' ? content : JSON.stringify(content), { mode: 0o600 });
}

/** A home that goes when the test ends. */
export function freshHome(rootKey: PublicJwk = root.publicJwk): string {
  const home = freshFolder();
  mkdirSync(join(home, 'data/sealing'), { recursive: true });
  write(home, paths.fleet, { v: 1, fleet: FLEET, root: rootKey });
  write(home, paths.node, { v: 1, name: 'node-1', pool: 'default' });
  write(home, paths.key, node.privateJwk);
  write(home, sealingPath, sealing.privateJwk);
  return home;
}
