/** What `npm start` tells when everything runs. */
export type Welcome = {
  baseUrl: string;
  /** Null: it was shown at the first start, and nobody can show it again. */
  adminKey: string | null;
  /** The service of the example. */
  service: string;
  sandbox: boolean;
  /** Further lines on what was started and where the data lies. */
  notes: string[];
};

/** Text for a terminal. The curl lines work as they are where the key is known. */
export function welcomeText({ baseUrl, adminKey, service, sandbox, notes }: Welcome): string {
  const auth = `-H "Authorization: Bearer ${adminKey ?? '$KEYTURN_KEY'}"`;
  const body = JSON.stringify({ service, subject: 'user-1' });
  return [
    '',
    `Keyturn runs at ${baseUrl}   (API reference: ${baseUrl}/docs)`,
    ...notes.map((note) => `  ${note}`),
    '',
    adminKey === null
      ? 'The admin key was shown at the first start; put it into KEYTURN_KEY for the lines below.'
      : `Admin key, shown this once: ${adminKey}`,
    '',
    `Connect an account: open the authorizationUrl that this answers in a browser${sandbox ? ' (a SANDBOX, no real account)' : ''}`,
    `  curl -sS -X POST ${auth} -H "Content-Type: application/json" -d '${body}' ${baseUrl}/v1/authorizations`,
    `See it, and ${sandbox ? 'within a minute ' : ''}its next refresh`,
    `  curl -sS ${auth} ${baseUrl}/v1/credentials`,
    'See who did what to it',
    `  curl -sS ${auth} ${baseUrl}/v1/audit`,
    '',
    'Ctrl-C stops everything.',
    '',
  ].join('\n');
}

/** Whether the API knows `key`: true right after a first start with it. */
export async function isAccepted(baseUrl: string, key: string): Promise<boolean> {
  const response = await fetch(`${baseUrl}/v1/credentials?limit=1`, { headers: { authorization: `Bearer ${key}` } });
  await response.body?.cancel();
  return response.ok;
}
