import http from 'node:http';
import https from 'node:https';

/** An idle connection is dropped before the usual server (5 s) drops it under a request of ours. Milliseconds. */
const IDLE_MS = 4_000;

/**
 * A keep-alive agent in the shape of a function. simple-oauth2 clones its options deeply on every request, which
 * breaks an agent on its second use; functions are not cloned. Node asks an agent for these seven members only.
 * Without it every refresh opens a connection of its own.
 */
export function makeHttpAgent(url: string): http.Agent {
  const secure = url.startsWith('https:');
  const options: http.AgentOptions = { keepAlive: true, timeout: IDLE_MS };
  const agent = secure ? new https.Agent(options) : new http.Agent(options);
  const members = agent as http.Agent & { addRequest: (...args: unknown[]) => void; protocol: string; options: object };
  return Object.assign(() => undefined, {
    addRequest: (...args: unknown[]) => members.addRequest(...args),
    protocol: members.protocol,
    defaultPort: secure ? 443 : 80,
    maxSockets: agent.maxSockets,
    options: members.options,
    keepAlive: true,
    destroy: () => agent.destroy(),
  }) as unknown as http.Agent;
}
