/**
 * The part of oidc-provider 9 that the sandbox uses; the package brings no types. Its index.js only adds a warning that
 * Node 26 is not an LTS release yet.
 */
declare module 'oidc-provider/lib/provider.js' {
  import type { IncomingMessage, ServerResponse } from 'node:http';

  export type Context = {
    path: string;
    method: string;
    status: number;
    type: string;
    body: unknown;
    respond?: boolean;
    req: IncomingMessage;
    res: ServerResponse;
    query: Record<string, string | string[] | undefined>;
    set(name: string, value: string): void;
    redirect(url: string): void;
    oidc?: { route?: string; client?: { clientId: string }; params?: Record<string, unknown> };
  };
  export type Middleware = (ctx: Context, next: () => Promise<void>) => Promise<void>;
  export type Interaction = {
    uid: string;
    grantId?: string;
    prompt: { name: string };
    params: Record<string, string | string[] | undefined>;
    session?: { accountId: string };
  };
  export type StoredToken = {
    grantId?: string;
    clientId?: string;
    accountId?: string;
    scope?: string;
    exp?: number;
    consumed?: unknown;
    isExpired: boolean;
  };
  type TokenModel = { find(value: string, options?: { ignoreExpiration?: boolean }): Promise<StoredToken | undefined> };

  export class Grant {
    constructor(properties: { accountId: string; clientId: string });
    static find(id: string): Promise<Grant | undefined>;
    addOIDCScope(scope: string): void;
    rejectOIDCScope(scope: string): void;
    addResourceScope(resource: string, scope: string): void;
    save(): Promise<string>;
  }

  export class Provider {
    constructor(issuer: string, configuration: Record<string, unknown>);
    readonly AccessToken: TokenModel;
    readonly RefreshToken: TokenModel;
    readonly Grant: typeof Grant;
    use(middleware: Middleware): void;
    callback(): (req: IncomingMessage, res: ServerResponse) => void;
    on(event: string, listener: (ctx: Context, detail: never) => void): void;
    interactionDetails(req: IncomingMessage, res: ServerResponse): Promise<Interaction>;
    interactionFinished(req: IncomingMessage, res: ServerResponse, result: object): Promise<void>;
  }
}

declare module 'oidc-provider/lib/adapters/memory_adapter.js' {
  export default class MemoryAdapter {
    constructor(model: string, store: Map<string, unknown>);
  }
}
