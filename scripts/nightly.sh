#!/usr/bin/env bash
# What takes too long for every push: the tests, the advisory database, and each fuzz target for
# FUZZ_SECONDS (default 60).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

make test
make deny
make fuzz
