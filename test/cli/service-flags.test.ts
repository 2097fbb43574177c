// The flags of a service, and the fields and mask paths that they stand for.
import { expect, test } from 'vitest';
import { type ServiceOptions, serviceFields } from '../../cli/service-flags.ts';

test.each<[string, ServiceOptions, object, readonly string[]]>([
  ['nothing', {}, {}, []],
  ['--encoded-slashes', { encodedSlashes: true }, { encodedSlashes: true }, ['encoded_slashes']],
  ['--no-encoded-slashes', { encodedSlashes: false }, { encodedSlashes: false }, ['encoded_slashes']],
])('%s sets what it says and nothing else', (_flags, options, fields, mask) => {
  expect(serviceFields(options)).toEqual({ fields, mask });
});
