// The control plane that `control.ts` measures, a process of its own: prints its address and API keys, then serves until it is ended.
import { startControl } from '../control-plane/fixture.ts';

const CALLERS = 4;
const control = await startControl();
const upstream = 'https://api.example.com';
await control.admin.services.create({ service: { name: 's', upstream }, wait: { seconds: 0n } });
const keys: string[] = [];
for (let i = 0; i < CALLERS; i += 1) {
  keys.push((await control.admin.callers.create({ caller: { name: `c${i}`, services: ['s'] } })).apiKey);
}
process.stdout.write(`${JSON.stringify({ url: control.url, keys, admin: control.home.adminKey })}\n`);
process.on('SIGTERM', () => control[Symbol.asyncDispose]().finally(() => process.exit()));
