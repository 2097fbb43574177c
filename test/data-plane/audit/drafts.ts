// Records before they have a place in the chain.
import type { DecisionInput, OutcomeInput } from '../../../data-plane/audit/sink.ts';

export const decision = (id: string, change: Partial<DecisionInput> = {}): { kind: 'decision' } & DecisionInput => ({
  kind: 'decision',
  id,
  time: 1_800_000_000_000,
  result: 'allowed',
  reason: '',
  jti: 'jti-1',
  caller: 'ci',
  principal: 'bot',
  client: 'bot',
  service: 'github',
  method: 'GET',
  path: '/repos/acme/site/issues',
  rule: 'GET /repos/acme/{repo}/issues',
  credential_id: 'cred-1',
  snapshot_version: 7,
  count: 1,
  source: '',
  ...change,
});

export const outcome = (id: string, change: Partial<OutcomeInput> = {}): { kind: 'outcome' } & OutcomeInput => ({
  kind: 'outcome',
  id,
  time: 1_800_000_000_050,
  result: 'completed',
  reason: '',
  status: 200,
  request_bytes: 0,
  response_bytes: 1234,
  latency_micros: 50_000,
  ...change,
});
