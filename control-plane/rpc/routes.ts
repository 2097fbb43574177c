// Joins the handlers of all services with the layers that every RPC passes.
import { create, type DescService } from '@bufbuild/protobuf';
import { createValidator, type Validator } from '@bufbuild/protovalidate';
import type { ConnectRouter } from '@connectrpc/connect';
import { createValidateInterceptor } from '@connectrpc/validate';
import type { Callers } from '../domain/callers.ts';
import type { Enrolments } from '../domain/enrolment.ts';
import type { Identify } from '../domain/identity.ts';
import type { Keys } from '../domain/keys.ts';
import type { Membership } from '../domain/membership.ts';
import type { Nodes } from '../domain/nodes.ts';
import type { SetScope } from '../domain/scopes.ts';
import type { Services } from '../domain/services.ts';
import { AuditService } from '../gen/daypass/v1/audit_pb.ts';
import { CallerService } from '../gen/daypass/v1/caller_pb.ts';
import { KeyService } from '../gen/daypass/v1/key_pb.ts';
import { NodeService } from '../gen/daypass/v1/node_pb.ts';
import { ReleaseService } from '../gen/daypass/v1/release_pb.ts';
import { ServiceRegistry } from '../gen/daypass/v1/service_pb.ts';
import { SnapshotService } from '../gen/daypass/v1/snapshot_pb.ts';
import { TokenService } from '../gen/daypass/v1/token_pb.ts';
import { Health } from '../gen/grpc/health/v1/health_pb.ts';
import { ServerReflection } from '../gen/grpc/reflection/v1/reflection_pb.ts';
import { ServerReflection as ServerReflectionAlpha } from '../gen/grpc/reflection/v1alpha/reflection_pb.ts';
import { type Audit, auditService } from './audit-service.ts';
import { createGate } from './authenticate.ts';
import { callerService } from './caller-service.ts';
import { health } from './health.ts';
import { createErrorInterceptor, guardGate, type LogUnexpected } from './intercept.ts';
import { type KeysAdmin, keyService } from './key-service.ts';
import { nodeService } from './node-service.ts';
import { reflection, reflectionAlpha } from './reflection.ts';
import { type Releases, releaseService } from './release-service.ts';
import { serviceRegistry } from './service-registry.ts';
import { snapshotService } from './snapshot-service.ts';
import { type Tokens, tokenService } from './token-service.ts';

/** Every service that is served. */
export const services: readonly DescService[] = [
  TokenService,
  ServiceRegistry,
  CallerService,
  KeyService,
  NodeService,
  SnapshotService,
  ReleaseService,
  AuditService,
  Health,
  ServerReflection,
  ServerReflectionAlpha,
];

/** Largest message, in bytes. */
export const MESSAGE_BYTES_MAX = 4 * 1024 * 1024;
/** A delta goes to every node at once, and is there sooner than it would be compressed for each. */
const SNAPSHOT_COMPRESS_BYTES = 64 * 1024;
/** Largest message about tokens: a hundred of them, of 6,000 bytes each. To read one must not hold up who revokes. */
const TOKEN_MESSAGE_BYTES_MAX = 1024 * 1024;
/** Longest timeout that a client may ask for. */
const TIMEOUT_MS_MAX = 24 * 60 * 60 * 1000;

/** What the handlers call. */
export type Domain = {
  readonly tokens: Tokens;
  readonly services: Services;
  readonly setScope: SetScope;
  readonly callers: Callers;
  readonly keys: Keys;
  readonly keysAdmin: KeysAdmin;
  readonly nodes: Nodes;
  readonly releases: Releases;
  readonly enrolments: Enrolments;
  readonly membership: Membership;
  readonly audit: Audit;
  readonly identify: Identify;
  /** Throws when the control plane cannot serve. */
  readonly check: () => Promise<void>;
};

/** A validator that has read the rules of every request already: to read those of one holds the loop up for 20 ms. */
const preparedValidator = (): Validator => {
  const validator = createValidator();
  for (const { methods } of services) for (const { input } of methods) validator.validate(input, create(input));
  return validator;
};

/** The routes and the options of the router. */
export const createRoutes = (domain: Domain, log: LogUnexpected) => ({
  routes: (router: ConnectRouter): void => {
    router
      .service(TokenService, tokenService(domain.tokens), { readMaxBytes: TOKEN_MESSAGE_BYTES_MAX })
      .service(ServiceRegistry, serviceRegistry(domain.services, domain.setScope))
      .service(CallerService, callerService(domain.callers))
      .service(KeyService, keyService(domain.keys, domain.keysAdmin))
      .service(NodeService, nodeService(domain.enrolments, domain.membership))
      .service(SnapshotService, snapshotService(domain.nodes), { compressMinBytes: SNAPSHOT_COMPRESS_BYTES })
      .service(ReleaseService, releaseService(domain.releases))
      .service(AuditService, auditService(domain.audit))
      .service(Health, health({ services: services.map(({ typeName }) => typeName), check: domain.check }))
      .service(ServerReflection, reflection(services))
      .service(ServerReflectionAlpha, reflectionAlpha(services));
  },
  readMaxBytes: MESSAGE_BYTES_MAX,
  // A misspelt limit must not be a limit that is not there.
  jsonOptions: { ignoreUnknownFields: false },
  maxTimeoutMs: TIMEOUT_MS_MAX,
  interceptors: [createErrorInterceptor(log), createValidateInterceptor({ validator: preparedValidator() })],
  requestGate: guardGate(createGate(domain.identify), log),
});
