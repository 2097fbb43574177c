# Three images from one file, each with the dependencies of its own workspace and nothing else.
#   docker build --target data-plane -t daypass-data-plane .
#   docker build --target control-plane -t daypass-control-plane .
#   docker build --target cli -t daypass-cli .

FROM node:26-slim AS base
RUN apt-get update \
  && apt-get install -y --no-install-recommends libatomic1 \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /app
ENV NODE_ENV=production DAYPASS_HOME=/var/lib/daypass
COPY package.json package-lock.json ./
COPY tools/node-runtime/package.json tools/node-runtime/
COPY sdk/package.json sdk/
COPY sdk/core/package.json sdk/core/
COPY cli/package.json cli/
COPY control-plane/package.json control-plane/
COPY data-plane/package.json data-plane/

FROM base AS data-plane-packages
RUN npm ci --omit=dev --ignore-scripts -w @daypass/data-plane

# sqlite3 is compiled here, against Debian's SQLite, so that the build fetches nothing but packages.
FROM base AS control-plane-packages
RUN apt-get update \
  && apt-get install -y --no-install-recommends g++ libsqlite3-dev make python3 \
  && rm -rf /var/lib/apt/lists/*
RUN npm_config_build_from_source=true npm_config_sqlite=/usr npm ci --omit=dev -w @daypass/control-plane

FROM base AS cli-packages
RUN npm ci --omit=dev --ignore-scripts -w daypass

FROM base AS data-plane
COPY --from=data-plane-packages /app/node_modules node_modules
COPY sdk sdk
COPY data-plane data-plane
RUN install -d -m 0700 -o 1000 -g 1000 /var/lib/daypass /var/lib/daypass/data
USER 1000:1000
EXPOSE 8470
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s --retries=6 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:8471/healthz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
CMD ["node", "data-plane/main.ts"]

FROM base AS control-plane
RUN apt-get update \
  && apt-get install -y --no-install-recommends libsqlite3-0 \
  && rm -rf /var/lib/apt/lists/*
COPY --from=control-plane-packages /app/node_modules node_modules
COPY sdk sdk
COPY control-plane control-plane
RUN install -d -m 0700 -o 1000 -g 1000 /var/lib/daypass /var/lib/daypass/control
USER 1000:1000
EXPOSE 8480
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s --retries=6 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:8480/grpc.health.v1.Health/Check', { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' }).then((r) => r.json()).then((h) => process.exit(h.status === 'SERVING' ? 0 : 1), () => process.exit(1))"]
CMD ["node", "control-plane/main.ts"]

# The `daypass` command: `init`, administration, and the demo upstream. It starts no plane.
FROM base AS cli
COPY --from=cli-packages /app/node_modules node_modules
COPY sdk sdk
COPY cli cli
RUN install -d -m 0700 -o 1000 -g 1000 /var/lib/daypass /var/lib/daypass/root /var/lib/daypass/control /var/lib/daypass/data /var/lib/daypass/demo
USER 1000:1000
ENTRYPOINT ["node", "cli/daypass.mjs"]
CMD ["--help"]
