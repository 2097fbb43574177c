import { mint, register } from '/work/main/test/kit/operator.ts';
import { startFleet } from '/work/main/test/kit/planes.ts';
import { json, startUpstream } from '/work/main/test/kit/upstream.ts';

const up = await startUpstream((s, r) => json(r, 200, { t: s.target }));
const f = await startFleet({ env: JSON.parse(process.env.FENV ?? '{}') });
await register(f, 'orders', up.origin, 'real-credential');
const t = await mint(f, 'orders', ['* /**'], ['--ttl', '5h']);
console.log(
  `export HOME_=${f.home} C=${f.controlUrl} D=${f.dataUrl} A=${f.adminUrl} K=${f.adminKey} T=${t} UP=${up.port} CP=${f.control.pid()} DP=${f.data.pid()}`,
);
process.on('SIGTERM', async () => {
  console.error(f.control.logs(), f.data.logs());
  await f.stop();
  await up.close();
});
process.on('SIGUSR2', () => console.error(f.control.logs(), f.data.logs()));
