/** The page that a person sees after consent: plain, readable without style or script, and safe to reload. */
import { hash } from 'node:crypto';
import { type AppError, ERRORS, type ErrorCode } from '../../../shared/platform/errors.ts';
import { escapeHtml } from '../../../shared/platform/html.ts';
import type { EventDoc } from '../../../shared/store/lifecycle/events.ts';

export type Outcome = {
  status: 'succeeded' | 'pending' | 'failed';
  httpStatus: number;
  code: ErrorCode | null;
  eventId: string | null;
  credentialId: string | null;
};

const STYLE =
  'body{font:1.125rem/1.6 system-ui,sans-serif;max-width:34rem;margin:12vh auto;padding:0 1.5rem;color:#1a1a1a;' +
  'background:#fff}h1{font-size:1.6rem}small{color:#595959}@media(prefers-color-scheme:dark){body{color:#eee;' +
  'background:#151515}small{color:#b0b0b0}}';

/** Nothing but the style above may load. */
export const PAGE_HEADERS = {
  'cache-control': 'no-store',
  'content-security-policy': `default-src 'none'; style-src 'sha256-${hash('sha256', STYLE, 'base64')}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
};

type Words = { title: string; next: string };

const WORDS: Record<Outcome['status'], Words> = {
  succeeded: { title: 'You are connected', next: 'You may close this page and return to the app.' },
  pending: {
    title: 'Almost done',
    next: 'The provider is taking its time. You may close this page; the app will show the connection once it stands.',
  },
  failed: { title: 'The connection did not succeed', next: 'Return to the app and try again.' },
};

/** What to do next, for codes where it is not just "try again". */
const NEXT: Partial<Record<ErrorCode, string>> = {
  consent_denied: 'Nothing was connected. If that was not your intention, return to the app and try again.',
  state_invalid: 'Return to the app and begin again, in one browser, within five minutes.',
  issuer_mismatch: 'Nothing was connected. Return to the app and begin again; tell its makers if this happens twice.',
  scopes_missing: 'Return to the app, try again, and leave all the boxes of the consent page ticked.',
  provider_misconfigured: "Trying again will not help; tell the app's makers what this page says.",
  permission_denied: "Trying again will not help; tell the app's makers what this page says.",
  store_unavailable: 'This is on our side. Return to the app and try again in a minute.',
};

/** How an event went. */
export function outcomeOfEvent({ _id, status, problem, credentialId }: EventDoc): Outcome {
  const said = status === 'succeeded' ? 'succeeded' : status === 'failed' || status === 'parked' ? 'failed' : 'pending';
  return { status: said, httpStatus: 200, code: problem?.code ?? null, eventId: _id, credentialId };
}

/** How it went when an error kept the flow from becoming an event. */
export function outcomeOfError({ code, status }: AppError): Outcome {
  return { status: 'failed', httpStatus: status, code, eventId: null, credentialId: null };
}

/** The page as HTML. It holds fixed texts and ids only. */
export function renderOutcome({ status, code, eventId }: Outcome): string {
  const { title, next } = WORDS[status];
  const failure = status === 'failed' && code ? `<p>${escapeHtml(ERRORS[code].title)}</p>` : '';
  const reference = [code, eventId].filter((part) => part !== null).join(' · ');
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title} – Keyturn</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>${title}</h1>
${failure}<p>${escapeHtml((status === 'failed' && code && NEXT[code]) || next)}</p>
${reference && `<p><small>Reference: ${escapeHtml(reference)}</small></p>`}
</main>
</body>
</html>
`;
}
