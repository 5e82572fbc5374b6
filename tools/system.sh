#!/bin/sh
# Checks for what cannot be had from PyPI or crates.io; installs it where it may.
#   tools/system.sh RUST_VERSION [test|fuzz|guest|kernel|bpf|s390x]...   with what these targets need besides
set -eu
rust_minimum=$1
shift

missing=
command -v cc >/dev/null 2>&1 || missing="$missing gcc"
python3 -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
for target in "$@"; do
    case $target in
    test)
        command -v strace >/dev/null 2>&1 || missing="$missing strace"
        # Of the C library: its programs, and its pages.
        command -v valgrind >/dev/null 2>&1 || missing="$missing valgrind"
        command -v clang-14 >/dev/null 2>&1 || missing="$missing clang-14"
        command -v pkg-config >/dev/null 2>&1 || missing="$missing pkg-config"
        command -v groff >/dev/null 2>&1 || missing="$missing groff"
        # Spark's.
        command -v java >/dev/null 2>&1 || missing="$missing openjdk-17-jre-headless"
        ;;
    fuzz)
        command -v c++ >/dev/null 2>&1 || missing="$missing g++"
        ;;
    guest)
        command -v strace >/dev/null 2>&1 || missing="$missing strace"
        command -v qemu-system-x86_64 >/dev/null 2>&1 || missing="$missing qemu-system-x86"
        command -v qemu-system-aarch64 >/dev/null 2>&1 || missing="$missing qemu-system-arm"
        # Kernel images are packed by these.
        command -v zstd >/dev/null 2>&1 || missing="$missing zstd"
        command -v lz4 >/dev/null 2>&1 || missing="$missing lz4"
        command -v busybox >/dev/null 2>&1 || missing="$missing busybox-static"
        ;;
    kernel)
        for tool in make gcc git perl patch flex bison bc xz; do
            package=$tool
            [ $tool = xz ] && package=xz-utils
            command -v $tool >/dev/null 2>&1 || missing="$missing $package"
        done
        [ -e /usr/include/gelf.h ] || missing="$missing libelf-dev"
        command -v pahole >/dev/null 2>&1 || missing="$missing dwarves"
        ;;
    s390x)
        command -v qemu-s390x >/dev/null 2>&1 || missing="$missing qemu-user"
        command -v s390x-linux-gnu-gcc >/dev/null 2>&1 || missing="$missing gcc-s390x-linux-gnu libc6-dev-s390x-cross"
        ;;
    bpf)
        command -v clang-14 >/dev/null 2>&1 || missing="$missing clang-14"
        command -v llvm-strip-14 >/dev/null 2>&1 || missing="$missing llvm-14"
        [ -e /usr/include/bpf/bpf_helpers.h ] || missing="$missing libbpf-dev"
        ;;
    esac
done
if [ -n "$missing" ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        apt-get update -qq
        # shellcheck disable=SC2086 # a list of package names
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing libc6-dev
    else
        echo "Missing on this machine; install with:  sudo apt-get install -y$missing libc6-dev" >&2
        exit 1
    fi
fi

rust_hint="curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y && . \"\$HOME/.cargo/env\""
if ! command -v cargo >/dev/null 2>&1; then
    echo "Rust is missing; install it with:  $rust_hint" >&2
    exit 1
fi
version=$(rustc --version | cut -d' ' -f2)
oldest=$(printf '%s\n%s\n' "$rust_minimum" "$version" | sort -V | head -n 1)
if [ "$oldest" != "$rust_minimum" ]; then
    echo "Rust $version is too old ($rust_minimum or newer is needed); update with:  rustup update stable" >&2
    exit 1
fi
case " $* " in
*" s390x "*)
    target=s390x-unknown-linux-gnu
    [ -d "$(rustc --print target-libdir --target $target)" ] || rustup target add --toolchain "$(rustup show active-toolchain | cut -d' ' -f1)" $target
    ;;
esac
