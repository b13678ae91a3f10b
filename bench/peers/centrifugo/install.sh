#!/bin/sh
# Builds Centrifugo into target/peers/bin, from the root of the workspace. Needs Go.
set -eu

mkdir -p target/peers/bin
GOBIN="$PWD/target/peers/bin" go install github.com/centrifugal/centrifugo/v6@v6.9.1
