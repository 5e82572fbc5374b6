#!/bin/sh
# Fails where the committed BPF object is not what its source compiles to.
set -eu
here=$(dirname "$0")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
committed=$here/../rust/sources/bpf/taskstats.bpf.o
sh "$here/build_bpf.sh" "$scratch/taskstats.bpf.o"
for object in "$committed" "$scratch/taskstats.bpf.o"; do
    llvm-objdump-14 --disassemble --reloc --no-show-raw-insn "$object" | sed 1,2d \
        > "$scratch/$(basename "$(dirname "$object")").asm"
done
cmp "$scratch/bpf.asm" "$scratch/$(basename "$scratch").asm" || {
    echo "rust/sources/bpf/taskstats.bpf.o is out of date; make it anew with:  make bpf" >&2
    exit 1
}
