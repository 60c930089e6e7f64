# The importer and the uploader in one image. Build:
#   docker build -t dvcr-data-plane .
# or, with a base pinned to a digest and the version recorded:
#   docker build --build-arg RUNTIME_IMAGE=gcr.io/distroless/cc-debian12@sha256:... --build-arg VERSION=0.1.0 -t dvcr-data-plane .
#
# BUILD_IMAGE: Debian 12 with Node 24 at /usr/local/bin/node, and npm.
# RUNTIME_IMAGE: anything with Debian 12's glibc, libstdc++ and CA certificates; it needs no shell and no Node.
ARG BUILD_IMAGE=node:24-bookworm-slim
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY scripts ./scripts
RUN apt-get update \
 && apt-get install -y --no-install-recommends $(node scripts/packages.mjs image) \
 && rm -rf /var/lib/apt/lists/*
COPY package.json package-lock.json ./
RUN npm ci --include=dev --no-audit --no-fund
COPY . .
RUN npm run build && npm prune --omit=dev --no-audit --no-fund

# Everything the runtime image gets, at its final place. The launchers name Node by its path: there is no env to look
# for it. The addon is stripped; its codecs are inside it, but for ISA-L and bzip2.
RUN set -eu; app=/rootfs/opt/dvcr; \
    mkdir -p "$app/build/native" /rootfs/usr/local/bin \
             /rootfs/dvcr-src-auth /rootfs/dvcr-auth /rootfs/certs /rootfs/proxycerts; \
    cp -r package.json LICENSE bin dist node_modules "$app/"; \
    strip -o "$app/build/native/dvcr.node" build/native/dvcr.node; \
    sed -i '1s|.*|#!/usr/local/bin/node|' "$app"/bin/*; \
    for name in dvcr dvcr-importer dvcr-uploader; do ln -s "/opt/dvcr/bin/$name" "/rootfs/usr/local/bin/$name"; done; \
    cp "$(command -v node)" /rootfs/usr/local/bin/node; \
    cp --parents -P /usr/lib/*/libisal.so.2* /rootfs/; \
    cp -P /lib/*/libbz2.so.1.0* "/rootfs/usr/lib/$(uname -m)-linux-gnu/"

FROM ${RUNTIME_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="dvcr-data-plane" \
      org.opencontainers.image.description="Streams virtual machine disk images into OCI registries" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /rootfs/ /
# Kubernetes sets the command; both executables ignore the rest of the file system but /tmp and what is mounted.
USER 64535
WORKDIR /
EXPOSE 8080 8443 8444
CMD ["/usr/local/bin/dvcr-importer"]
