#!/bin/sh
# Runs every fuzz target so many times, from the committed seeds (rust/fuzz/seeds).
#   tools/fuzz.sh RUNS DIRECTORY    where cargo-fuzz is installed to if it is missing
set -eu
runs=$1
root=$2

PATH=$PATH:$root/bin
command -v cargo-fuzz >/dev/null || cargo install --quiet --locked --root "$root" cargo-fuzz

# The sanitizer is an unstable flag, which a stable compiler takes with this.
export RUSTC_BOOTSTRAP=1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
for target in $(cargo fuzz list --fuzz-dir rust/fuzz); do
    echo "fuzz $target: $runs runs"
    # What is found on the way goes to the first directory.
    mkdir "$scratch/$target"
    cargo fuzz run --fuzz-dir rust/fuzz "$target" "$scratch/$target" "rust/fuzz/seeds/$target" \
        -- -runs="$runs" -seed=1 -timeout=10 >"$scratch/log" 2>&1 \
        || { grep -v 'Uses: ' "$scratch/log" >&2; exit 1; }
done
