// How a URL says that the server of the database has to prove who it is.
import { expect, test } from 'vitest';
import { parsePostgresUrl } from '../../control-plane/store/postgres-url.ts';

test.each([
  ['postgres://u@127.0.0.1/d', undefined],
  ['postgres://u@[::1]/d', undefined],
  ['postgres://u@localhost/d', undefined],
  ['postgresql://u@db.example/d', { verify: 'full', files: {} }],
  ['postgres://u@10.0.0.1/d?sslrootcert=/ca.pem', { verify: 'full', files: { ca: '/ca.pem' } }],
  ['postgres://u@db.example/d?sslmode=disable', undefined],
])('%s is connected to with the TLS %j', (text, tls) => {
  expect(parsePostgresUrl(text).tls).toEqual(tls);
});
