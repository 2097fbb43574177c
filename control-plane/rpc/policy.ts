// Who may call what: every RPC stands here, and one that does not is denied.
import type { DescMethod } from '@bufbuild/protobuf';

/** The least that an RPC asks of its caller. */
export type Access =
  /** No credential. */
  | 'anyone'
  /** Any holder of an API key; the domain narrows it to what is its own. */
  | 'caller'
  /** A caller that is an admin. */
  | 'admin'
  /** A node with its own key; the domain narrows it to itself and its pool. */
  | 'node';

/** The table, by `package.Service/Method`. */
export const policy: Readonly<Record<string, Access>> = {
  'daypass.v1.TokenService/Mint': 'caller',
  'daypass.v1.TokenService/MintBatch': 'caller',
  'daypass.v1.TokenService/Exchange': 'caller',
  'daypass.v1.TokenService/Introspect': 'caller',
  'daypass.v1.TokenService/Revoke': 'caller',
  'daypass.v1.TokenService/List': 'caller',
  'daypass.v1.ServiceRegistry/Create': 'admin',
  'daypass.v1.ServiceRegistry/Get': 'caller',
  'daypass.v1.ServiceRegistry/List': 'caller',
  'daypass.v1.ServiceRegistry/Update': 'admin',
  'daypass.v1.ServiceRegistry/SetScope': 'caller',
  'daypass.v1.ServiceRegistry/ListOperations': 'caller',
  'daypass.v1.ServiceRegistry/Delete': 'admin',
  'daypass.v1.CallerService/Create': 'admin',
  'daypass.v1.CallerService/List': 'admin',
  'daypass.v1.CallerService/Update': 'admin',
  'daypass.v1.CallerService/Delete': 'admin',
  'daypass.v1.CallerService/WhoAmI': 'caller',
  'daypass.v1.NodeService/CreateEnrolment': 'admin',
  'daypass.v1.NodeService/Enrol': 'anyone',
  'daypass.v1.NodeService/List': 'admin',
  'daypass.v1.NodeService/Expel': 'admin',
  'daypass.v1.KeyService/GetVerificationKeys': 'anyone',
  'daypass.v1.KeyService/GetSealingKeys': 'anyone',
  'daypass.v1.KeyService/List': 'admin',
  'daypass.v1.KeyService/Retire': 'admin',
  'daypass.v1.SnapshotService/Get': 'node',
  'daypass.v1.SnapshotService/Watch': 'node',
  'daypass.v1.SnapshotService/Report': 'node',
  'daypass.v1.ReleaseService/ListSnapshots': 'admin',
  'daypass.v1.ReleaseService/GetSnapshot': 'admin',
  'daypass.v1.ReleaseService/Test': 'admin',
  'daypass.v1.ReleaseService/ListCanaries': 'admin',
  'daypass.v1.ReleaseService/Promote': 'admin',
  'daypass.v1.ReleaseService/TakeBack': 'admin',
  'daypass.v1.AuditService/Ingest': 'node',
  'daypass.v1.AuditService/Query': 'admin',
  'daypass.v1.AuditService/Tail': 'admin',
  'grpc.health.v1.Health/Check': 'anyone',
  'grpc.health.v1.Health/Watch': 'anyone',
  'grpc.health.v1.Health/List': 'anyone',
  'grpc.reflection.v1.ServerReflection/ServerReflectionInfo': 'anyone',
  'grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo': 'anyone',
};

/** What a method asks; undefined: it is denied to all. */
export const accessOf = (method: DescMethod): Access | undefined => {
  const name = `${method.parent.typeName}/${method.name}`;
  return Object.hasOwn(policy, name) ? policy[name] : undefined;
};
