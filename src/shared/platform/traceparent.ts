import { context, propagation } from '@opentelemetry/api';

/** The trace that this request belongs to (W3C traceparent), so that the job it causes joins it. Null: none. */
export function currentTraceparent(): string | null {
  const carrier: { traceparent?: string } = {};
  propagation.inject(context.active(), carrier);
  return carrier.traceparent ?? null;
}
