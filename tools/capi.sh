#!/bin/sh
# The C library.
#   tools/capi.sh build             libtaskstats.so.1 and libtaskstats.a in TARGET/capi
#   tools/capi.sh install           these, the header and the pages into DESTDIR, below PREFIX
#
# Design decisions
#
# * rustc exports the functions of a cdylib without symbol versions, whatever the version script
#   says. So the shared library is linked from the static one.
# * In the installed static library only the functions of the interface are global: two
#   libraries with Rust code, or another zstd, can be in one program.
set -eu
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
built=$target/capi
crate=rust/capi
map=$crate/libtaskstats.map
soname=libtaskstats.so.1

names() {
    sed -n 's/^ *\(taskstats_[a-z0-9_]*\);$/\1/p' $map
}

build() {
    cargo build --release --quiet --package precise-top-capi --lib
    mkdir -p "$built"
    archive=$target/release/libtaskstats.a
    ${CC:-cc} -shared -o "$built/$soname.part" \
        -Wl,-soname,"$soname" -Wl,--version-script=$map \
        -Wl,--whole-archive "$archive" -Wl,--no-whole-archive \
        -Wl,--gc-sections,-z,defs,-z,relro,-z,now,--as-needed,--strip-debug \
        -lgcc_s -lpthread -lm -ldl -lrt -lc
    mv "$built/$soname.part" "$built/$soname"

    # shellcheck disable=SC2046 # a list of options
    ld -r -o "$built/all.o" --gc-sections $(names | sed 's/^/-u /') \
        --whole-archive "$archive" --no-whole-archive
    names > "$built/names"
    # The compiler's own code, which binutils may not understand once it is merged.
    objcopy --strip-debug --remove-section .llvmbc --remove-section .llvmcmd \
        --keep-global-symbols="$built/names" "$built/all.o" "$built/taskstats.o"
    rm -f "$built/libtaskstats.a"
    ar rcs "$built/libtaskstats.a" "$built/taskstats.o"
    rm -f "$built/all.o" "$built/taskstats.o" "$built/names"
}

install_files() {
    prefix=${PREFIX:-/usr/local}
    libdir=${LIBDIR:-$prefix/lib}
    root=${DESTDIR:-}
    version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
    install -d "$root$libdir/pkgconfig" "$root$prefix/include" "$root$prefix/share/man/man3"
    install -m 755 "$built/$soname" "$root$libdir/$soname"
    ln -sf "$soname" "$root$libdir/libtaskstats.so"
    install -m 644 "$built/libtaskstats.a" "$root$libdir/libtaskstats.a"
    install -m 644 $crate/include/taskstats.h "$root$prefix/include/taskstats.h"
    sed "s|@PREFIX@|$prefix|; s|@LIBDIR@|$libdir|; s|@VERSION@|$version|" \
        $crate/taskstats.pc.in > "$root$libdir/pkgconfig/taskstats.pc"
    chmod 644 "$root$libdir/pkgconfig/taskstats.pc"
    for page in "$crate"/man/*.3; do
        install -m 644 "$page" "$root$prefix/share/man/man3/"
        # Each function's page is that of its group.
        group=$(basename "$page")
        sed -n '/^\.SH NAME/{n;s/ \\- .*//;s/,//g;p;}' "$page" | tr ' ' '\n' | while read -r name; do
            [ "$name.3" = "$group" ] || echo ".so man3/$group" > "$root$prefix/share/man/man3/$name.3"
        done
    done
}

case $1 in
build) build ;;
install) install_files ;;
esac
