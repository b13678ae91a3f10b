#!/bin/sh
# Builds the Mercure hub into target/peers/bin, from the root of the workspace. Needs Go and git.
set -eu

version=v1.0.0-alpha.3
source=target/peers/mercure-$version
module=golang.org/x/crypto/x509roots/fallback

mkdir -p target/peers/bin
program=$PWD/target/peers/bin/mercure
[ -d "$source" ] ||
    git clone --quiet --depth 1 --branch "$version" https://github.com/dunglas/mercure "$source"
cd "$source/caddy"
# A proxy may not serve the version of the root certificates that is required.
go mod download "$module" ||
    go mod edit -replace "$module=$module@$(go list -m -f '{{.Version}}' "$module@latest")"
go build -mod=mod -o "$program" ./mercure
