# The image of the Helm chart: the program, the certificates of public authorities, nobody's shell. tests/helm/check.py reads this file.
#
#   docker build -t tollwatch .
#   docker run --rm tollwatch demo --help

FROM rust:1.95.0-slim-bookworm AS build
# These build librdkafka, its TLS library, and zstd from source.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates g++ make perl \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# Caches stay with the builder and not in a layer. Line tables double the program; a panic names its line without them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked -p engine --bin tollwatch \
 && install -D target/release/tollwatch /image/usr/local/bin/tollwatch \
 && strip --strip-debug /image/usr/local/bin/tollwatch \
 && install -D -m 0644 /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt \
 && install -D -m 0644 LICENSE /image/usr/share/doc/tollwatch/LICENSE

FROM debian:12.12-slim
LABEL org.opencontainers.image.title="tollwatch" \
      org.opencontainers.image.description="Finds callers who logged in and then take what is not theirs" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /image/ /
# Made here, so that a volume laid over it is writable for the user below.
RUN install -d -o 65532 -g 65532 -m 0750 /var/lib/tollwatch
USER 65532:65532
WORKDIR /var/lib/tollwatch
ENV TOLLWATCH_STATE=/var/lib/tollwatch
EXPOSE 9477
ENTRYPOINT ["/usr/local/bin/tollwatch"]
CMD ["run", "--config", "/etc/tollwatch/config/tollwatch.toml"]
