#!/usr/bin/env bash
# Runs every fuzz target, or those named, for FUZZ_SECONDS each (default 60).
#
# Goes on after a crash, so that one night finds all there is to find; fails at the end if any target did.
# Seeds that are kept live in fuzz/seeds/<target>; what libFuzzer finds grows in fuzz/corpus/<target>.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seconds=${FUZZ_SECONDS:-60}
toolchain=${FUZZ_TOOLCHAIN:-nightly}

# Listed first, never just tried: rustup may take naming a toolchain as a request to download it.
if ! command -v rustup >/dev/null || ! rustup toolchain list | grep "^$toolchain" >/dev/null; then
  echo "fuzz: needs the '$toolchain' toolchain, for its sanitizer flags. Install it with:" >&2
  echo "        rustup toolchain install $toolchain --profile minimal" >&2
  exit 1
fi
scripts/install-deps.sh fuzz

# Sanitizer builds would only push the ordinary ones out of a shared directory.
build=(--target-dir fuzz/target)
# The musl target of some cargo-fuzz packages cannot hold a sanitizer; the host's own can.
build+=(--target "$(rustc "+$toolchain" -vV | sed -n 's/^host: //p')")

if [ $# -gt 0 ]; then
  targets=("$@")
else
  mapfile -t targets < <(cargo "+$toolchain" fuzz list)
fi
[ ${#targets[@]} -gt 0 ] || {
  echo "fuzz: no targets in fuzz/Cargo.toml" >&2
  exit 1
}

echo "fuzz: building ${#targets[@]} target(s)"
cargo "+$toolchain" fuzz build "${build[@]}"

failed=()
for target in "${targets[@]}"; do
  echo "fuzz: $target for $seconds s"
  corpus=("fuzz/corpus/$target")
  mkdir -p "${corpus[0]}"
  [ -d "fuzz/seeds/$target" ] && corpus+=("fuzz/seeds/$target")
  cargo "+$toolchain" fuzz run "${build[@]}" "$target" "${corpus[@]}" -- \
    -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -verbosity=0 -print_final_stats=1 || failed+=("$target")
done

if [ ${#failed[@]} -gt 0 ]; then
  echo "fuzz: FAILED: ${failed[*]}. The input is in fuzz/artifacts/<target>; run it again with" >&2
  echo "        cargo +$toolchain fuzz run <target> fuzz/artifacts/<target>/<file>" >&2
  exit 1
fi
echo "fuzz: ${#targets[@]} target(s), $seconds s each, no crash"
