// A control plane as a child process on processor 0, and the calls that are made to it from processor 1.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type Home, makeHome } from '../control-plane/fixture.ts';
import { cpuMicros, pin } from './cpu.ts';

const SERVER = fileURLToPath(new URL('./control-server.ts', import.meta.url));

/** How long the loop was held up, in milliseconds. */
export type Stalls = { readonly max: number; readonly p99: number };

/** A control plane to be measured. */
export type Subject = {
  readonly home: Home;
  readonly url: string;
  /** The text of the answer to a call with an API key, as JSON; throws for any but a 200. */
  call(path: string, body: unknown, key: string): Promise<string>;
  /** Since it was asked last. */
  stalls(): Promise<Stalls>;
  /** Processor time of all its threads, in microseconds. */
  cpu(): Promise<number>;
  [Symbol.asyncDispose](): Promise<void>;
};

/** Starts one with so many services in its pool; its database is SQLite, or the PostgreSQL of the URL, then without services. `shared` is the home of another. */
export const startSubject = async (services = 0, databaseUrl?: string, shared?: Home): Promise<Subject> => {
  const home = shared ?? (await makeHome());
  const env = databaseUrl === undefined ? process.env : { ...process.env, DAYPASS_DATABASE_URL: databaseUrl };
  const given = [SERVER, home.path, String(services)];
  const child = spawn(process.execPath, given, { env, stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const read = async () => JSON.parse(String((await lines.next()).value));
  const { url }: { url: string } = await read();
  const pid = child.pid ?? 0;
  await pin(pid, 0);
  await pin(process.pid, 1);
  const agent = new Agent({ keepAlive: true });
  return {
    home,
    url,
    call: (path, body, key) => call(agent, `${url}/daypass.v1.${path}`, JSON.stringify(body), key),
    stalls: async () => {
      child.stdin.write('\n');
      return read();
    },
    cpu: async () => (await cpuMicros(pid)) ?? 0,
    [Symbol.asyncDispose]: async () => {
      agent.destroy();
      child.kill('SIGTERM');
      if (child.exitCode === null) await once(child, 'exit');
      if (shared === undefined) await home.remove();
    },
  };
};

const call = (agent: Agent, url: string, text: string, key: string): Promise<string> => {
  const length = Buffer.byteLength(text);
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json', 'content-length': length };
  return new Promise((resolve, reject) => {
    const sent = request(url, { method: 'POST', agent, headers }, (answer) => {
      let said = '';
      answer.setEncoding('utf8').on('data', (chunk: string) => {
        said += chunk;
      });
      answer.on('end', () => (answer.statusCode === 200 ? resolve(said) : reject(new Error(said))));
    });
    sent.on('error', reject).end(text);
  });
};
