// Tells the shapes of JSON values apart.
import type { JsonObject, JsonValue } from '@daypass/core/json';

/** Whether a value is an object, not an array and not null. */
export const isObject = (value: JsonValue | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
