// Reads the certificate and key that the proxy presents.
import { readFile } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import { DaypassError } from '@daypass/core/errors';
import type { TlsFiles } from './config.ts';

/** Both as PEM text. Throws `config_invalid` naming the variable. */
export async function readTls({
  certPath,
  keyPath,
}: TlsFiles): Promise<{ readonly cert: string; readonly key: string }> {
  const read = async (path: string, variable: string) => {
    try {
      return await readFile(path, 'utf8');
    } catch (cause) {
      throw new DaypassError('config_invalid', `${variable}: ${path} cannot be read`, { cause, field: variable });
    }
  };
  const cert = await read(certPath, 'DAYPASS_DATA_TLS_CERT');
  const key = await read(keyPath, 'DAYPASS_DATA_TLS_KEY');
  try {
    createSecureContext({ cert, key });
  } catch {
    // The cause is dropped: it may quote the key.
    const message = `DAYPASS_DATA_TLS_CERT: ${certPath} and ${keyPath} are not a certificate and its key in PEM form`;
    throw new DaypassError('config_invalid', message, { field: 'DAYPASS_DATA_TLS_CERT' });
  }
  return { cert, key };
}
