// One exchange with the data plane under a bound token: a proof a request, again for a nonce, on for a redirect.
import type { Dpop } from './dpop.ts';
import type { RefusedError } from './errors.ts';
import type { Prepared } from './request.ts';

/** An answer of the data plane, and whether it is a refusal. */
export type Answer = { readonly response: Response; readonly refusal: RefusedError | undefined };

/** Sends a request once, with these fields in place of its own. */
export type SendOnce = (prepared: Prepared, fields: Readonly<Record<string, string>>) => Promise<Answer>;

/** Sends a request with a proof, again for a nonce, and on for a redirect within the data plane. */
export async function exchangeProved(
  dpop: Dpop,
  dataPlane: string,
  asked: Prepared,
  token: string,
  sendOnce: SendOnce,
): Promise<Answer> {
  const { method = 'GET', redirect = 'follow' } = asked.init;
  const authorization = `DPoP ${token}`;
  let prepared: Prepared = { ...asked, init: { ...asked.init, redirect: redirect === 'follow' ? 'manual' : redirect } };
  // A body that is gone cannot follow a nonce. Without a proof nothing is forwarded, and the refusal brings the nonce.
  if (!prepared.replayable && dpop.isUnsure(dataPlane))
    await sendOnce({ ...prepared, init: { method: 'GET', signal: asked.init.signal ?? null } }, { authorization });
  let nonces = 0;
  let redirects = 0;
  for (;;) {
    const answer = await sendOnce(prepared, { authorization, dpop: await dpop.proof(method, prepared.url, token) });
    const next = redirect === 'follow' ? redirectWithin(dataPlane, prepared, answer.response) : undefined;
    if (answer.refusal?.code === 'proof_nonce_required' && prepared.replayable && nonces < NONCES_MAX) nonces += 1;
    else if (next === undefined || redirects >= REDIRECTS_MAX) return answer;
    else {
      redirects += 1;
      await answer.response.body?.cancel();
      prepared = { ...prepared, url: next };
    }
  }
}

/** Nonces are of one data plane each: a pool behind one address may ask for another's. */
const NONCES_MAX = 3;
const REDIRECTS_MAX = 5;

/** Where the answer leads, if that is the data plane again and the request can be made there as it is. */
function redirectWithin(dataPlane: string, { url, init }: Prepared, { status, headers }: Response): string | undefined {
  const location = headers.get('location');
  if (location === null || ![301, 302, 303, 307, 308].includes(status)) return undefined;
  if ((init.method !== 'GET' && init.method !== 'HEAD') || !URL.canParse(location, url)) return undefined;
  const next = new URL(location, url);
  return next.origin === new URL(dataPlane).origin ? next.href : undefined;
}
