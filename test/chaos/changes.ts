// What operators and callers do meanwhile: services change, come and go; tokens are minted and revoked. All is written down.
import { claim } from '../kit/operator.ts';
import { type ControlClient, type Json, Refused, receiptOf } from './control-client.ts';
import type { KnownVersions, Receipt, ServiceFacts, TokenFacts } from './ledger.ts';
import type { Random } from './random.ts';
import type { Tokens } from './traffic.ts';

export type Changes = {
  /** Every service that was ever registered. */
  readonly services: ServiceFacts[];
  /** Every token whose revocation was acknowledged. */
  readonly revoked: TokenFacts[];
  /** Milliseconds until a call was acknowledged, and by how many nodes it was missed, by the call. */
  readonly times: Map<string, { readonly ms: number[]; missing: number }>;
  /** Registers what is there from the beginning, and mints for it and for what is there already. */
  prepare(services: number, tokens: number, there: readonly ServiceFacts[]): Promise<void>;
  /** Begins to change things; `stop` ends it. */
  start(): { stop(): Promise<void> };
};

type Deps = {
  readonly control: ControlClient;
  readonly upstream: string;
  readonly tokens: Tokens;
  readonly known: KnownVersions;
  readonly random: Random;
  readonly broken: (why: string, facts: unknown) => void;
};

/** Tokens that are revoked, or of deleted services, and still asked with. */
const ENDED_MAX = 60;
const LIVE_MAX = 200;
const PASSING_MAX = 4;

/** Makes the changers, which do nothing yet. */
export function createChanges({ control, upstream, tokens, known, random, broken }: Deps): Changes {
  const services: ServiceFacts[] = [];
  const revoked: TokenFacts[] = [];
  const times: Changes['times'] = new Map();
  let going = true;

  /** Calls, and takes the receipt. */
  const acknowledged = async (method: string, message: Json): Promise<Receipt> => {
    const began = performance.now();
    const receipt = receiptOf(await control.call(method, { ...message, wait: random.pick(['5s', '5s', '1s', '0s']) }));
    const all = times.get(method) ?? { ms: [], missing: 0 };
    times.set(method, all);
    all.ms.push(performance.now() - began);
    all.missing += receipt.missing.size;
    known.take(receipt);
    return receipt;
  };

  const configure = (name: string, generation: number): Promise<Receipt> =>
    acknowledged('ServiceRegistry/Update', {
      service: { name, upstream: `${upstream}/g${generation}` },
      updateMask: 'upstream',
    });

  const create = async (name: string): Promise<ServiceFacts> => {
    const service = { name, upstream: `${upstream}/g1` };
    const created = await acknowledged('ServiceRegistry/Create', { service }).catch((error: unknown) => {
      // A try whose answer was lost had done it.
      if (error instanceof Refused && error.code === 'already_exists') return configure(name, 1);
      throw error;
    });
    const first = { generation: 1, version: created.version };
    const facts: ServiceFacts = { name, created, asked: 1, acknowledged: [first], isDeleteAsked: false };
    services.push(facts);
    return facts;
  };

  const change = async (service: ServiceFacts): Promise<void> => {
    service.asked += 1;
    const generation = service.asked;
    const { version } = await configure(service.name, generation);
    service.acknowledged.push({ generation, version });
  };

  const remove = async (service: ServiceFacts): Promise<void> => {
    service.isDeleteAsked = true;
    const own = tokens.live.filter((token) => token.service === service);
    for (const token of own) end(token);
    try {
      service.deleted = await acknowledged('ServiceRegistry/Delete', { name: service.name });
    } catch (error) {
      // A try whose answer was lost had done it; by which version is not known.
      if (!(error instanceof Refused && error.code === 'not_found')) throw error;
    }
  };

  let clients = 0;
  const mint = async (service: ServiceFacts): Promise<void> => {
    clients += 1;
    const client = `bot-${clients}`;
    const allow = ['GET /items/{n}'];
    const wanted = { service: service.name, allow, client, ttl: '7200s' };
    const answer = await control.call('TokenService/Mint', wanted).catch((error: unknown) => {
      if (error instanceof Refused && error.code === 'not_found' && service.isDeleteAsked) return undefined;
      throw error;
    });
    if (answer === undefined) return;
    const text = String(answer.token);
    const token: TokenFacts = { jti: String(claim(text, 'jti')), client, text, service, isRevokeAsked: false };
    tokens.live.push(token);
    if (service.isDeleteAsked) end(token);
  };

  /** Takes a token out of those that are good, to those that are asked with all the same. */
  const end = (token: TokenFacts): void => {
    tokens.live.splice(tokens.live.indexOf(token), 1);
    tokens.ended.push(token);
    if (tokens.ended.length > ENDED_MAX) tokens.ended.splice(0, 1);
  };

  const revoke = async (token: TokenFacts): Promise<void> => {
    token.isRevokeAsked = true;
    end(token);
    const target = random.chance(0.3) ? { cutOff: { client: token.client } } : { jti: token.jti };
    token.revoked = await acknowledged('TokenService/Revoke', target);
    revoked.push(token);
  };

  const again = async (work: () => Promise<void>): Promise<void> => {
    while (going) await work().catch((error: unknown) => broken(`a change failed: ${String(error)}`, undefined));
  };

  /** Services that stay: the one half changes by this hand, the other by the next, so that each has one history. */
  const changing = (hand: number) => {
    const own = services.filter(({ name }) => name.startsWith('steady-')).filter((_one, index) => index % 2 === hand);
    return again(() => change(random.pick(own)));
  };

  const minting = () =>
    again(async () => {
      const open = services.filter(({ isDeleteAsked }) => !isDeleteAsked);
      await mint(random.pick(open));
      const own = tokens.live.filter(({ service }) => !service.name.startsWith('passing-'));
      if (own.length > LIVE_MAX || (own.length > LIVE_MAX / 2 && random.chance(0.6))) await revoke(random.pick(own));
    });

  let passing = 0;
  const comingAndGoing = () =>
    again(async () => {
      passing += 1;
      const fresh = await create(`passing-${passing}`);
      await mint(fresh);
      const there = services.filter(({ name, isDeleteAsked }) => name.startsWith('passing-') && !isDeleteAsked);
      if (there.length > PASSING_MAX) await remove(random.pick(there));
    });

  return {
    services,
    revoked,
    times,
    prepare: async (wanted, minted, there) => {
      services.push(...there);
      for (let i = 0; i < wanted; i += 1) await create(`steady-${i}`);
      for (let i = 0; i < minted; i += 1) await mint(services[i % services.length] as ServiceFacts);
    },
    start: () => {
      const hands = [changing(0), changing(1), minting(), comingAndGoing()];
      return {
        stop: async () => {
          going = false;
          await Promise.all(hands);
        },
      };
    },
  };
}
