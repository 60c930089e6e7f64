# The importer and the uploader in one image. Build with any builder that can pull the first image:
#   docker build -t dvcr-data-plane .
# or, where no image can be pulled, from this checkout's own build with buildah: npm run image
#
# BUILD_IMAGE: Debian 12 with Node 24, and npm.
ARG BUILD_IMAGE=node:24-bookworm-slim

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY scripts ./scripts
RUN apt-get update && apt-get install -y --no-install-recommends $(node scripts/packages.mjs image)
COPY package.json package-lock.json ./
RUN npm ci --include=dev --no-audit --no-fund
COPY . .
RUN npm run build && node scripts/image-rootfs.mjs --node="$(command -v node)" /rootfs

# `npm run image` puts a directory that the same script has laid out in place of this stage.
FROM scratch AS rootfs
COPY --from=build /rootfs/ /

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="dvcr-data-plane" \
      org.opencontainers.image.description="Streams virtual machine disk images into OCI registries" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=rootfs / /
ENV PATH=/usr/local/bin
# Kubernetes sets the command; the processes write to /tmp and to the termination log only.
USER 64535:64535
WORKDIR /
EXPOSE 8080 8443 8444
CMD ["/usr/local/bin/dvcr-importer"]
