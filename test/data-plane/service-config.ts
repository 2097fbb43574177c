// A service as a snapshot holds it, with the usual settings.
import type { ServiceConfig } from '@daypass/core/service';

/** Its settings, those that are given in place of the usual ones. */
export const serviceConfig = (
  given: Pick<ServiceConfig, 'name' | 'origin'> & Partial<ServiceConfig>,
): ServiceConfig => ({
  pool: 'default',
  base_path: '',
  place: { kind: 'bearer' },
  token_in: [{ kind: 'bearer' }],
  is_default: false,
  anonymous: false,
  insecure_upstream: false,
  max_ttl_seconds: 86_400,
  connect_timeout_ms: 2_000,
  response_timeout_ms: 5_000,
  clients: null,
  drop_headers: [],
  set_headers: {},
  drop_query: [],
  limits: { per_token: null, per_client: null, per_service: null },
  ...given,
});
