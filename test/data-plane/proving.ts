// A client of a data server that holds a key: bound tokens, and requests with proofs.
import { type Change, clientKey, proofOf } from '../kit/dpop.ts';
import { type Content, type Fixture, type FixtureOptions, startFixture } from './fixture.ts';
import { type Answer, ask, codeIn, fieldOf, type Recorder, startRecorder } from './recorder.ts';

export const key = await clientKey();
export const bound = { cnf: { jkt: key.jkt } };
const everywhere = [
  { kind: 'bearer' },
  { kind: 'token' },
  { kind: 'basic' },
  { kind: 'header', name: 'private-token' },
] as const;

export async function withApi(
  work: (data: Fixture, upstream: Recorder, content: Content) => Promise<void>,
  options: Partial<FixtureOptions> = {},
): Promise<void> {
  using upstream = await startRecorder();
  const place = { kind: 'header', name: 'x-key', template: '{secret}' } as const;
  const service = { origin: upstream.origin, secret: 'S3CRET', place, token_in: everywhere };
  const content = {
    services: [
      { ...service, name: 'api', is_default: true },
      { ...service, name: 'open', anonymous: true },
    ],
  };
  await using data = await startFixture({ ...content, ...options });
  await work(data, upstream, content);
}

export type Request = { method?: string; target?: string; body?: string; fields?: readonly string[] };

export const proofFor = (
  data: Fixture,
  token: string,
  { method = 'GET', target = '/public/a' }: Request = {},
  change: Change = {},
) => {
  const [path = ''] = target.split('?');
  return proofOf(key, { method, url: data.url + path, token, now: data.clock.nowMs / 1000 }, change);
};

/** Presents a bound token with a proof. */
export function prove(data: Fixture, token: string, proof: string, asked: Request = {}): Promise<Answer> {
  const { method = 'GET', target = '/public/a', body, fields = [] } = asked;
  const all = [`Authorization: DPoP ${token}`, `DPoP: ${proof}`, ...fields];
  return ask(data.port, target, { method, fields: all, ...(body === undefined ? {} : { body }) });
}

export const seen = (answer: Answer): unknown => (answer.status === 200 ? 200 : codeIn(answer));
export const challengeOf = ({ head }: Answer): string | undefined => fieldOf(head, 'www-authenticate');

/** The nonce that an answer gives out; empty without one. */
export const nonceOf = ({ head }: Answer): string => fieldOf(head, 'dpop-nonce') ?? '';
