import { startFixture } from './fixture.ts';
const data = await startFixture({ services: [{ name: 'api', origin: 'http://127.0.0.1:7801', secret: 'S3CRETS3CRET', is_default: true }] });
data.audit.append = () => undefined;
setInterval(() => { data.audit.decisions.length = 0; }, 1000);
console.log(JSON.stringify({ port: data.port, token: await data.mint() }));
process.on('SIGTERM', () => process.exit());
