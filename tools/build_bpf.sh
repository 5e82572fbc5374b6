#!/bin/sh
# Compiles the BPF programs: tools/build_bpf.sh DIRECTORY, where the objects go. The version
# of clang is pinned, so that everyone gets the same instructions.
set -eu
output=$1
source=$(dirname "$0")/../rust/sources/bpf
for name in taskstats tree; do
    clang-14 -O2 -g -target bpf -D__TARGET_ARCH_x86 -Wall -Werror \
        -fdebug-prefix-map="$PWD"=. -I "$source" -c "$source/$name.bpf.c" -o "$output/$name.bpf.o"
    # The types stay (BTF), the debugger's part goes.
    llvm-strip-14 -g "$output/$name.bpf.o"
done
