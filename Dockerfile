# One image for every process of Keyturn; the command says which. Node runs the TypeScript as it is: nothing is built.
FROM node:26-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# The `node` package is for machines without a recent Node; the image has one.
RUN npm ci --omit=dev --ignore-scripts && rm -rf node_modules/node node_modules/node-bin-*

FROM node:26-bookworm-slim
ENV NODE_ENV=production
WORKDIR /app
COPY --from=dependencies /app/node_modules ./node_modules
COPY package.json ./
COPY src ./src
# The only folder that a process writes to, beside /tmp: sealed replies that are not yet committed.
RUN install -d -o node -g node -m 0700 /var/lib/keyturn
VOLUME /var/lib/keyturn
USER node
ENV KEYTURN_HOST=0.0.0.0 \
    KEYTURN_PORT=8080 \
    KEYTURN_JOURNAL_DIR=/var/lib/keyturn/journal \
    KEYTURN_SECRET_DIR=/var/lib/keyturn/secrets \
    KEYTURN_OCSF_DIR=/var/lib/keyturn/ocsf
EXPOSE 8080
STOPSIGNAL SIGTERM
CMD ["node", "src/api/main.ts"]
