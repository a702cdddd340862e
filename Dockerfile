# The images of rdev's services, one target each: gateway, executor, projector; and cli, the program
# `rdev`, for keys and audits.
#
#     docker build --target gateway --tag rdev-gateway .
#
# The binaries are built in the stage `build`. To make images of binaries that were built outside
# (on the same Debian release, or an older one), put rdev-gateway, rdev-executor, rdev-projector,
# rdev and the static rdev-shim into target/image/, and add --build-arg BINARIES=prebuilt: then no image of
# Rust is needed. BuildKit, which skips the stages that are not used, is required.

ARG RUST_IMAGE=rust:1.95-slim-bookworm
ARG RUNTIME_IMAGE=debian:bookworm-slim
ARG BINARIES=build

FROM ${RUST_IMAGE} AS build
WORKDIR /source
# The toolchain of the image: rust-toolchain.toml would add components that only developers need.
ENV RUSTUP_TOOLCHAIN=1.95.0 CARGO_PROFILE_DIST_STRIP=debuginfo
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target \
    set -eu; \
    cargo build --profile dist --locked \
        --package rdev-gateway --package rdev-executor --package rdev-projector \
        --package rdev-cli --features rdev-cli/kube; \
    # Static, because it runs in other people's images. An explicit target keeps the flag away
    # from build scripts and macros.
    host=$(rustc -vV | sed -n 's/^host: //p'); \
    RUSTFLAGS='-C target-feature=+crt-static' \
        cargo build --profile dist --locked --package rdev-shim --target "$host"; \
    mkdir /binaries; \
    cp target/dist/rdev-gateway target/dist/rdev-executor target/dist/rdev-projector \
        target/dist/rdev "target/$host/dist/rdev-shim" /binaries/

FROM scratch AS prebuilt
COPY target/image/ /binaries/

FROM ${BINARIES} AS binaries

FROM ${RUNTIME_IMAGE} AS base
# An ordinary user, with a home for the tools that commands run. Its directory below /var/lib is
# the place for a volume, which takes over its owner.
RUN echo 'rdev:x:10001:10001:rdev:/home/rdev:/bin/sh' >> /etc/passwd; \
    echo 'rdev:x:10001:' >> /etc/group; \
    mkdir -p /home/rdev /var/lib/rdev; \
    chown 10001:10001 /home/rdev /var/lib/rdev
# For issuers of tokens, object stores and servers with public certificates.
RUN test -e /etc/ssl/certs/ca-certificates.crt || { \
        apt-get update \
        && apt-get install --yes --no-install-recommends ca-certificates \
        && rm -rf /var/lib/apt/lists/*; \
    }
ENV HOME=/home/rdev
WORKDIR /home/rdev

FROM base AS cli
COPY --from=binaries /binaries/rdev /usr/local/bin/
# Each is the place for a volume.
RUN for who in server gateway executor projector auditor operator consumers; do \
        mkdir -p "/var/lib/rdev-access/$who"; \
    done; \
    chown -R 10001:10001 /var/lib/rdev-access; \
    chmod -R u=rwX,go= /var/lib/rdev-access
USER 10001:10001
ENTRYPOINT ["/usr/local/bin/rdev"]

FROM base AS gateway
COPY --from=binaries /binaries/rdev-gateway /usr/local/bin/
USER 10001:10001
EXPOSE 8080
ENV RDEV_LISTEN=0.0.0.0:8080
ENTRYPOINT ["/usr/local/bin/rdev-gateway"]

FROM base AS projector
COPY --from=binaries /binaries/rdev-projector /usr/local/bin/
USER 10001:10001
ENV RDEV_HEALTH_LISTEN=127.0.0.1:8081
ENTRYPOINT ["/usr/local/bin/rdev-projector"]

# The executor also carries what commands of the `local` backend use. With the `kube` backend they
# run in pods, and the executor only brings the shim there. The Claude CLI is not in it: for `claude`
# commands of the `local` backend, make an image on top of this one that has it. (A base image that
# has git already needs no network here.)
FROM base AS executor
RUN command -v git > /dev/null || { \
        apt-get update \
        && apt-get install --yes --no-install-recommends git \
        && rm -rf /var/lib/apt/lists/*; \
    }
COPY --from=binaries /binaries/rdev-executor /binaries/rdev-shim /usr/local/bin/
USER 10001:10001
ENV RDEV_HEALTH_LISTEN=127.0.0.1:8081 \
    RDEV_SHIM_PATH=/usr/local/bin/rdev-shim \
    RDEV_LOCAL_ROOT=/var/lib/rdev/pods
ENTRYPOINT ["/usr/local/bin/rdev-executor"]
