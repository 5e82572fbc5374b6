#!/bin/sh
# Compiles the BPF programs: tools/build_bpf.sh OUTPUT. The version of clang is pinned,
# so that everyone gets the same instructions.
set -eu
output=$1
source=$(dirname "$0")/../rust/sources/bpf
clang-14 -O2 -g -target bpf -D__TARGET_ARCH_x86 -Wall -Werror -fdebug-prefix-map="$PWD"=. \
    -I "$source" -c "$source/taskstats.bpf.c" -o "$output"
# The types stay (BTF), the debugger's part goes.
llvm-strip-14 -g "$output"
