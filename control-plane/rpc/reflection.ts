// grpc.reflection v1 and v1alpha: lets tools ask which services there are and what their messages look like.
import { createRegistry, type DescFile, type DescService, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { Code, type ServiceImpl } from '@connectrpc/connect';
import type { ServerReflection, ServerReflectionRequest } from '../gen/grpc/reflection/v1/reflection_pb.ts';
import type {
  ServerReflectionRequest as AlphaRequest,
  ServerReflection as ServerReflectionAlpha,
} from '../gen/grpc/reflection/v1alpha/reflection_pb.ts';

/** The handlers of v1. */
export const reflection = (services: readonly DescService[]): ServiceImpl<typeof ServerReflection> => {
  const answer = createAnswer(services);
  return {
    serverReflectionInfo: async function* (requests) {
      for await (const request of requests) {
        yield { validHost: request.host, originalRequest: request, messageResponse: answer(request.messageRequest) };
      }
    },
  };
};

/** The handlers of v1alpha, which says the same in messages of another name. */
export const reflectionAlpha = (services: readonly DescService[]): ServiceImpl<typeof ServerReflectionAlpha> => {
  const answer = createAnswer(services);
  return {
    serverReflectionInfo: async function* (requests) {
      for await (const request of requests) {
        yield { validHost: request.host, originalRequest: request, messageResponse: answer(request.messageRequest) };
      }
    },
  };
};

type Asked = ServerReflectionRequest['messageRequest'] | AlphaRequest['messageRequest'];

const createAnswer = (services: readonly DescService[]) => {
  const files = withImports(services.map(({ file }) => file));
  const registry = createRegistry(...files.values());
  const fileOf = (symbol: string): DescFile | undefined => {
    const found = registry.get(symbol) ?? registry.get(symbol.slice(0, Math.max(0, symbol.lastIndexOf('.'))));
    return found?.file;
  };
  const describe = (file: DescFile | undefined) =>
    file === undefined
      ? refusal(Code.NotFound, 'not found')
      : {
          case: 'fileDescriptorResponse' as const,
          value: {
            fileDescriptorProto: [...withImports([file]).values()].map(({ proto }) =>
              toBinary(FileDescriptorProtoSchema, proto),
            ),
          },
        };
  return (asked: Asked) => {
    switch (asked.case) {
      case 'fileByFilename':
        return describe(files.get(asked.value));
      case 'fileContainingSymbol':
        return describe(fileOf(asked.value));
      case 'listServices': {
        const service = services.map(({ typeName }) => ({ name: typeName }));
        return { case: 'listServicesResponse' as const, value: { service } };
      }
      case 'allExtensionNumbersOfType':
      case 'fileContainingExtension':
        return refusal(Code.NotFound, 'there are no extensions');
      case undefined:
        return refusal(Code.InvalidArgument, 'nothing is asked');
      default:
        return asked satisfies never;
    }
  };
};

const refusal = (errorCode: number, errorMessage: string) => ({
  case: 'errorResponse' as const,
  value: { errorCode, errorMessage },
});

/** Files with all that they import, each after its imports. `file.name` has no suffix; its descriptor's name does. */
const withImports = (
  roots: readonly DescFile[],
  found: Map<string, DescFile> = new Map(),
): ReadonlyMap<string, DescFile> => {
  for (const file of roots) {
    if (found.has(file.proto.name)) continue;
    withImports(file.dependencies, found);
    found.set(file.proto.name, file);
  }
  return found;
};
