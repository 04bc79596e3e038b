import swagger, { type SwaggerTransform, type SwaggerTransformObject } from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { App } from './context.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Media type → schema of a body that the handler checks itself, item by item. For OpenAPI. */
    documentedBody?: Record<string, z.ZodType>;
  }
}

const ABOUT =
  'Credential lifecycle, driven by events. Errors are RFC 9457 problems with a stable `type`. Lists are paginated: pass ' +
  '`nextCursor` as `cursor`.';

/** OpenAPI 3.1 at `/openapi.json` and `/docs`, from the schemas that validate. Register it before the routes. */
export async function describeApi(app: App): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Keyturn',
        version: '1',
        description: ABOUT,
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      servers: [{ url: '/' }],
      components: { securitySchemes: { apiKey: { type: 'http', scheme: 'bearer', bearerFormat: 'kt_live_…' } } },
    },
    transform: describeRoute,
    transformObject: describeSchemas,
  });
  await app.register(swaggerUi, { routePrefix: '/docs', staticCSP: true });
  app.get(
    '/openapi.json',
    {
      config: { open: true },
      schema: { tags: ['operation'], summary: 'This document', response: { 200: z.record(z.string(), z.unknown()) } },
    },
    async () => app.swagger() as unknown as Record<string, unknown>,
  );
}

/** Says of each route whether it asks for a key, and shows documented bodies by media type. */
const describeRoute: SwaggerTransform = (document) => {
  const transformed = jsonSchemaTransform(document as Parameters<typeof jsonSchemaTransform>[0]);
  const config = document.route.config;
  if (!transformed.schema || transformed.schema.hide) return transformed;
  const security = config?.open ? [] : [{ apiKey: [] }];
  const schema = { ...transformed.schema, security };
  if (!config?.documentedBody) return { ...transformed, schema };
  const content = Object.entries(config.documentedBody).map(([type, body]) => {
    const shown = jsonSchemaTransform({ ...document, schema: { body } } as Parameters<typeof jsonSchemaTransform>[0]);
    return [type, { schema: shown.schema.body }];
  });
  return { ...transformed, schema: { ...schema, body: { content: Object.fromEntries(content) } } };
};

/** Keeps those named schemas that the paths refer to, directly or through other schemas. */
const describeSchemas: SwaggerTransformObject = (document) => {
  const full = jsonSchemaTransformObject(document) as {
    components: { schemas: Record<string, unknown> };
    paths: unknown;
  };
  const wanted = new Set<string>();
  const visit = (part: unknown): void => {
    for (const [, name] of JSON.stringify(part).matchAll(/"#\/components\/schemas\/([^"]+)"/g)) {
      if (wanted.has(name!)) continue;
      wanted.add(name!);
      visit(full.components.schemas[name!]);
    }
  };
  visit(full.paths);
  const schemas = Object.fromEntries(Object.entries(full.components.schemas).filter(([name]) => wanted.has(name)));
  return { ...full, components: { ...full.components, schemas } } as ReturnType<SwaggerTransformObject>;
};
