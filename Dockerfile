# A static program in an image without anything else:
#   docker build --tag carafe .
#   docker run --publish 3000:3000 --volume carafe:/var/lib/carafe carafe

FROM rust:1.95-alpine3.22 AS build
# aws-lc, which TLS and tokens use, is written in C. Any version of these compiles it.
# hadolint ignore=DL3018
RUN apk add --no-cache build-base cmake
WORKDIR /carafe
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/carafe/target \
    cargo build --locked --profile dist --package carafe-cli && \
    cp target/dist/carafe /usr/local/bin/ && \
    install -d -o 65532 -g 65532 -m 700 /data

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /usr/local/bin/carafe /usr/local/bin/
# A volume here takes its owner from the image.
COPY --from=build --chown=65532:65532 /data /var/lib/carafe
USER 65532:65532
WORKDIR /var/lib/carafe
VOLUME /var/lib/carafe
EXPOSE 3000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["carafe", "healthcheck"]
ENTRYPOINT ["carafe"]
# Options of your own replace these, and a container's variables (CARAFE_…) do not override them.
CMD ["serve", "--listen", ":3000", "--log", "disk:/var/lib/carafe/log", "--anonymous", "subscribe"]
