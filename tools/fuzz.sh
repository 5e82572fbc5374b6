#!/bin/sh
# Runs every fuzz target RUNS times, or for two minutes, from the committed seeds (rust/fuzz/seeds).
#   tools/fuzz.sh RUNS DIRECTORY    installs cargo-fuzz to DIRECTORY if it is missing
set -eu
runs=$1
root=$2

PATH=$PATH:$root/bin
command -v cargo-fuzz >/dev/null || cargo install --quiet --locked --root "$root" cargo-fuzz

# Lets a stable compiler accept the sanitizer's unstable flag.
export RUSTC_BOOTSTRAP=1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
for target in $(cargo fuzz list --fuzz-dir rust/fuzz); do
    echo "fuzz $target: $runs runs"
    # libFuzzer writes new inputs to the first directory.
    mkdir "$scratch/$target"
    cargo fuzz run --fuzz-dir rust/fuzz "$target" "$scratch/$target" "rust/fuzz/seeds/$target" \
        -- -runs="$runs" -max_total_time=120 -seed=1 -timeout=10 -malloc_limit_mb=128 -rss_limit_mb=1024 >"$scratch/log" 2>&1 \
        || { grep -v 'Uses: ' "$scratch/log" >&2; exit 1; }
done
