// Waits until a data plane says that it is ready.
import { DaypassError } from '@daypass/core/errors';

const DEADLINE_MS = 15_000;
const INTERVAL_MS = 50;
const REQUEST_MS = 2000;

/** Asks `/readyz` until it answers 200. @throws DaypassError `unavailable` with the last answer when it does not in 15 s */
export const waitUntilReady = async (adminUrl: string): Promise<void> => {
  const deadline = Date.now() + DEADLINE_MS;
  let last = 'no answer';
  while (Date.now() < deadline) {
    const response = await fetch(`${adminUrl}/readyz`, { signal: AbortSignal.timeout(REQUEST_MS) }).catch(
      () => undefined,
    );
    const text = await response?.text();
    if (response?.ok === true) return;
    last = text ?? last;
    await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS));
  }
  throw new DaypassError('unavailable', `the data plane is not ready: ${last.slice(0, 300).trim()}`);
};
