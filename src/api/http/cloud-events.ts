/** The HTTP protocol binding of CloudEvents 1.0.2: structured, batched and binary content mode. */
import type { FastifyRequest } from 'fastify';
import { AppError } from '../../shared/platform/errors.ts';
import type { App } from './context.ts';

export const STRUCTURED_TYPE = 'application/cloudevents+json';
export const BATCH_TYPE = 'application/cloudevents-batch+json';
export const MAX_BATCH = 1_000;

const PREFIX = 'ce-';

/** Lets the app parse the media types of CloudEvents in the JSON format. */
export function takeCloudEventTypes(app: App): void {
  const parse = app.getDefaultJsonParser('error', 'error');
  app.addContentTypeParser([STRUCTURED_TYPE, BATCH_TYPE], { parseAs: 'string' }, parse);
}

/** Whether the request carries an event in binary content mode (§3.1): it has any content type but those above. */
export function isBinary(request: FastifyRequest): boolean {
  return !request.headers['content-type']?.toLowerCase().startsWith('application/cloudevents');
}

/** The event of a request in binary mode: attributes from `ce-*` headers, data from the body. Throws `invalid_event`. */
export function fromBinary(request: FastifyRequest): Record<string, unknown> {
  if (request.headers['ce-specversion'] === undefined) {
    throw new AppError('invalid_event', {
      detail: `Send ${STRUCTURED_TYPE}, ${BATCH_TYPE}, or the attributes as ce-* headers (ce-specversion, ce-id, …).`,
    });
  }
  const attributes = Object.entries(request.headers)
    .filter(([name]) => name.startsWith(PREFIX))
    .map(([name, value]) => [name.slice(PREFIX.length), decode(String(value))]);
  return {
    ...Object.fromEntries(attributes),
    datacontenttype: request.headers['content-type'],
    data: request.body,
  };
}

/** §3.1.3.2: header values are percent-encoded. */
function decode(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    throw new AppError('invalid_event', { detail: 'The value of a ce-* header is not percent-encoded UTF-8.' });
  }
}
