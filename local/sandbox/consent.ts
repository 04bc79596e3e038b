import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Context, Interaction, Middleware, Provider } from 'oidc-provider/lib/provider.js';

const PATH = '/interaction/';

export type ConsentOptions = {
  /** Decides without a page. */
  autoConsent: boolean;
  /** Scopes that the person does not grant, whatever was asked for. */
  withheldScopes: () => readonly string[];
};

/** Stands where a person would log in and agree. A POST with `decision=allow|deny` decides, in both modes. */
export function consentPages(provider: Provider, options: ConsentOptions): Middleware {
  return async (ctx, next) => {
    if (!ctx.path.startsWith(PATH)) return next();
    const details = await provider.interactionDetails(ctx.req, ctx.res);
    if (ctx.method === 'POST' || options.autoConsent) {
      const decision = ctx.method === 'POST' ? await readDecision(ctx.req) : 'allow';
      const result = decision === 'allow' ? await agree(provider, details, options.withheldScopes()) : REFUSAL;
      ctx.respond = false;
      await provider.interactionFinished(ctx.req, ctx.res, result);
      return;
    }
    showPage(ctx, details);
  };
}

const REFUSAL = { error: 'access_denied', error_description: 'The person declined.' };

/** Logs a person in (the one of the session, else a new one) and grants what the client asks for. */
async function agree(provider: Provider, details: Interaction, withheld: readonly string[]): Promise<object> {
  const accountId = details.session?.accountId ?? `person-${randomBytes(4).toString('hex')}`;
  const asked = String(details.params.scope ?? '').split(' ');
  const granted = asked.filter((scope) => !withheld.includes(scope)).join(' ');
  const refused = asked.filter((scope) => withheld.includes(scope)).join(' ');
  const grant = new provider.Grant({ accountId, clientId: String(details.params.client_id) });
  if (granted !== '') grant.addOIDCScope(granted);
  if (refused !== '') grant.rejectOIDCScope(refused);
  for (const resource of [details.params.resource ?? []].flat()) grant.addResourceScope(resource, granted);
  return { login: { accountId }, consent: { grantId: await grant.save() } };
}

async function readDecision(request: IncomingMessage): Promise<string | null> {
  let body = '';
  for await (const chunk of request) body += chunk;
  return new URLSearchParams(body).get('decision');
}

function showPage(ctx: Context, details: Interaction): void {
  const client = escapeHtml(String(details.params.client_id));
  const scopes = String(details.params.scope ?? '').split(' ');
  ctx.type = 'html';
  ctx.set('cache-control', 'no-store');
  ctx.body = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>SANDBOX consent</title>
<style>
  body { font: 1rem/1.5 system-ui, sans-serif; max-width: 34rem; margin: 3rem auto; padding: 0 1rem }
  .mark { background: #7a4b00; color: #fff; padding: .5rem 1rem; border-radius: .3rem }
  button { font: inherit; padding: .5rem 1.5rem; margin-right: .5rem }
</style>
<p class="mark"><strong>SANDBOX</strong>: this is a pretended account on your own machine. No password is asked for.</p>
<h1>Connect “${client}”?</h1>
<p>It asks for:</p>
<ul>${scopes.map((scope) => `<li>${escapeHtml(scope)}</li>`).join('')}</ul>
<form method="post">
  <button name="decision" value="allow" autofocus>Continue</button>
  <button name="decision" value="deny">Decline</button>
</form>
</html>`;
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}
