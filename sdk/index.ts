// @daypass/sdk: a fetch that mints by itself, typed clients, sealing, and the offline parts of scope and token.

export { DaypassError, type ErrorCode, isErrorCode } from '@daypass/core/errors';
export { fingerprint, type PublicJwk } from '@daypass/core/key';
export { readContentHeaders, readJsonBody } from '@daypass/core/request-body';
export { RequestDetails } from '@daypass/core/request-details';
export { type CompiledRules, compileRules, matchRules, smallestRule } from '@daypass/core/rule-match';
export { parseRule, parseRules } from '@daypass/core/rule-parse';
export { printRule } from '@daypass/core/rule-print';
export { ALL_REQUESTS, ANY_CALLER } from '@daypass/core/seal';
export type { CredentialPlace } from '@daypass/core/service';
export {
  checkTokenTime,
  importVerificationKey,
  readToken,
  readUnverifiedClaims,
  type TokenClaims,
  type VerificationKey,
  type VerifiedClaims,
  verifyToken,
} from '@daypass/core/token';
export { bearer, type ClientOptions, type Clients, createClients } from './client.ts';
export { RefusedError, toDaypassError } from './errors.ts';
export { createDaypass, type Daypass, type DaypassInit, type DaypassOptions, type DpopKeyPair } from './fetch.ts';
export type { BatchToken, MintedToken } from './mint-batch.ts';
export { type Sealed, type SealRequest, sealFor } from './seal.ts';
