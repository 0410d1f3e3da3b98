#!/usr/bin/env bash
# Checks licences, bans, sources and advisories of every dependency against deny.toml.
#
# The offline half (scripts/licences.py) always runs. cargo-deny adds the advisory database when it is
# installed; without it, or without a network to fetch the database over, the rest still counts.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python3 scripts/licences.py

if ! command -v cargo-deny >/dev/null; then
  echo "deny: cargo-deny is not installed, so the advisory database was not asked."
  echo "      To have it: cargo install cargo-deny --locked"
  exit 0
fi
cargo deny --locked check bans licenses sources
if cargo deny --locked fetch db 2>/dev/null; then
  cargo deny --locked check --disable-fetch advisories
else
  echo "deny: the advisory database cannot be reached, so it was not asked."
fi
