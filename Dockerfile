# syntax=docker/dockerfile:1
# One static program (musl) and the system's certificate authorities, nothing else: no shell, no libc.
#
#   docker build -t mediagate .
#   docker run --rm mediagate --version
#
# It serves /etc/mediagate/mediagate.toml, which is yours to mount, with its secrets readable by user 65532. A database in a
# file belongs into /var/lib/mediagate. Give `docker stop` 60 seconds, so that running transfers can end. There is no shell for
# a HEALTHCHECK: ask /readyz on the metrics listener from outside.

FROM rust:1.94-alpine AS build
# cmake and C for Pingora's zlib, aws-lc and SQLite.
# hadolint ignore=DL3018
RUN apk add --no-cache ca-certificates cmake g++ linux-headers make musl-dev perl
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --locked --profile dist --bin mediagate && cp target/dist/mediagate /mediagate
RUN mkdir /state

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /mediagate /usr/local/bin/mediagate
COPY --from=build --chown=65532:65532 /state /var/lib/mediagate
# Fails the build of an image whose program needs a library.
RUN ["/usr/local/bin/mediagate", "--version"]
USER 65532:65532
WORKDIR /var/lib/mediagate
EXPOSE 8080 8081 9100
ENTRYPOINT ["/usr/local/bin/mediagate"]
CMD ["serve", "--config", "/etc/mediagate/mediagate.toml"]
