#!/bin/sh
# Fails where a committed BPF object is not what its source compiles to.
set -eu
here=$(dirname "$0")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
committed=$here/../rust/sources/bpf
sh "$here/build_bpf.sh" "$scratch"
for object in "$scratch"/*.bpf.o; do
    name=$(basename "$object")
    for which in "$committed" "$scratch"; do
        llvm-objdump-14 --disassemble --reloc --no-show-raw-insn "$which/$name" | sed 1,2d \
            > "$scratch/$(basename "$which").asm"
    done
    cmp "$scratch/bpf.asm" "$scratch/$(basename "$scratch").asm" || {
        echo "rust/sources/bpf/$name is out of date; rebuild it with:  make bpf" >&2
        exit 1
    }
done
