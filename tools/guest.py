#!/usr/bin/env python3
"""Runs a command in a virtual machine with a kernel of one's choice.

    tools/guest.py --kernel 6.12 --file target/debug/deps/live:/live -- /live --quiet

`--kernel` is a stock Debian cloud kernel (6.1 or 6.12, fetched once and kept in the
cache) or the path of a kernel image. The machine has the files that were given, with
the shared libraries they need, busybox, and nothing else; it is emulated in software.
The command's output is printed as it comes, its exit status is passed through.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "precise-top"
# The Debian release that ships each kernel.
SUITES = {"6.1": "bookworm", "6.12": "trixie"}
MIRROR = "http://deb.debian.org/debian"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
DONE = re.compile(r"guest: exit status (\d+)")
# An emulated CPU may go on executing a breakpoint that the kernel has taken away again, as it
# does each time that it patches its code: seen with QEMU 7.2 on a busy machine, when tracepoints
# are switched on and off. The kernel then meets one that nobody has set. No program here can
# bring that about.
STALE_CODE = re.compile(r"Oops: int3:")
ATTEMPTS = 3
INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp /root
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t cgroup2 cgroup /sys/fs/cgroup
/bin/busybox mkdir -p /dev/pts /dev/shm
/bin/busybox mount -t devpts pts /dev/pts
/bin/busybox mount -t tmpfs tmp /dev/shm
/bin/busybox --install -s /bin
/bin/busybox ip link set lo up
export PATH=/bin:/usr/bin HOME=/root TERM=dumb
echo 1 > /proc/sys/kernel/task_delayacct
sh /command
echo "guest: exit status $?"
poweroff -f
"""


class GuestError(Exception):
    """The machine could not be made or did not come to its end."""


def kernel_image(kernel: str) -> Path:
    """The image of a Debian kernel, fetched where it is not in the cache; or a path."""
    if kernel not in SUITES:
        path = Path(kernel)
        if not path.is_file():
            raise GuestError(f"no kernel {kernel}: give {', '.join(SUITES)} or a path")
        return path
    kept = CACHE / "kernels" / kernel
    images = sorted(kept.glob("vmlinuz-*"))
    if images:
        return images[-1]
    suite = SUITES[kernel]
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        (root / "lists/partial").mkdir(parents=True)
        (root / "archives/partial").mkdir(parents=True)
        (root / "sources.list").write_text(f"deb [signed-by={KEYRING}] {MIRROR} {suite} main\n")
        options = [
            f"-oDir::Etc::SourceList={root}/sources.list",
            "-oDir::Etc::SourceParts=/dev/null",
            f"-oDir::State::Lists={root}/lists",
            f"-oDir::Cache={root}",
            "-oAPT::Sandbox::User=root",
        ]
        _run(["apt-get", *options, "-qq", "update"])
        depends = _run(["apt-cache", *options, "depends", "linux-image-cloud-amd64"])
        found = re.search(r"Depends: (linux-image-[0-9]\S+-cloud-amd64)", depends)
        if not found:
            raise GuestError(f"Debian {suite} names no cloud kernel")
        subprocess.run(["apt-get", *options, "-qq", "download", found[1]], cwd=root, check=True)
        package = next(root.glob("linux-image-*.deb"))
        _run(["dpkg-deb", "-x", str(package), str(root / "unpacked")])
        image = next((root / "unpacked/boot").glob("vmlinuz-*"))
        kept.mkdir(parents=True, exist_ok=True)
        partial = kept / "partial"
        shutil.copy(image, partial)
        return partial.rename(kept / image.name)


# Parts of Python's library that no program here needs; half of its size.
UNUSED = ("__pycache__", "test", "tests", "idlelib", "ensurepip", "lib2to3", "site-packages")


def stage_python(directory: Path) -> tuple[list[tuple[Path, str]], str]:
    """Gathers this Python in `directory`, with the packages that it has installed but
    without tools. Gives what a machine needs for it, and the words that start it there."""
    paths = sysconfig.get_paths()
    ignore = shutil.ignore_patterns(*UNUSED, "config-*")
    library = directory / "library"
    shutil.copytree(paths["stdlib"], library, ignore=ignore)
    if paths["platstdlib"] != paths["stdlib"]:
        shutil.copytree(paths["platstdlib"], library, ignore=ignore, dirs_exist_ok=True)
    packages = directory / "packages"
    for name in ("taskstats", "ptop", "blessed", "wcwidth", "jinxed"):
        source = Path(paths["purelib"]) / name
        if source.is_dir():
            shutil.copytree(source, packages / name, ignore=shutil.ignore_patterns(*UNUSED))
    # Where the interpreter looks for its library, below its prefix.
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    program = Path(sys.executable).resolve()
    files = [
        (program, f"/usr/bin/{version}"),
        (library, f"/usr/lib/{version}"),
        (packages, f"/usr/lib/{version}/site-packages"),
    ]
    return files, f"env PYTHONHOME=/usr /usr/bin/{version}"


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, check=False, text=True, capture_output=True)
    if done.returncode:
        raise GuestError(f"{command[0]} failed: {done.stderr.strip()[-500:]}")
    return done.stdout


def rust_tests() -> dict[str, Path]:
    """The test programs of the crate of sources, built: those in its tests/ by their
    names, the one inside the library as "taskstats"."""
    built = subprocess.run(
        ["cargo", "test", "-p", "taskstats", "--no-run", "--quiet", "--message-format=json"],
        cwd=ROOT,
        check=True,
        text=True,
        stdout=subprocess.PIPE,
    )
    messages = (json.loads(line) for line in built.stdout.splitlines())
    return {
        message["target"]["name"]: Path(message["executable"])
        for message in messages
        if message.get("executable")
    }


def libraries(program: Path) -> set[Path]:
    """Shared libraries that a program needs, with its loader."""
    done = subprocess.run(["ldd", str(program)], check=False, text=True, capture_output=True)
    return {Path(found) for found in re.findall(r"(/\S+) \(0x", done.stdout)}


class Archive:
    """An initramfs: a cpio archive of the "newc" format, written in Python so that
    device nodes need no privilege and no file is copied before."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.names: set[str] = set()

    def add(
        self, name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)
    ) -> None:
        name = name.strip("/")
        if name in self.names:
            return
        parent = os.path.dirname(name)
        if parent:
            self.add(parent, stat.S_IFDIR | 0o755)
        self.names.add(name)
        number = len(self.names)
        encoded = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(encoded), 0)
        head = b"070701" + b"".join(b"%08x" % field for field in fields) + encoded
        self.parts += [_padded(head), _padded(data)]

    def add_file(self, source: Path, name: str) -> None:
        self.add(name, stat.S_IFREG | (source.stat().st_mode & 0o777), source.read_bytes())

    def compressed(self) -> bytes:
        end = Archive()
        end.add("TRAILER!!!", 0)
        return gzip.compress(b"".join(self.parts + end.parts), compresslevel=1)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def initramfs(files: Iterable[tuple[Path, str]], command: str) -> bytes:
    busybox = shutil.which("busybox")
    if busybox is None:
        raise GuestError("busybox is missing; install with:  sudo apt-get install busybox-static")
    archive = Archive()
    archive.add("init", stat.S_IFREG | 0o755, INIT.encode())
    archive.add("command", stat.S_IFREG | 0o644, command.encode())
    archive.add("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    archive.add_file(Path(busybox), "bin/busybox")
    needed: set[Path] = set()
    for source, name in files:
        if source.is_dir():
            for path in sorted(source.rglob("*")):
                if path.is_file():
                    archive.add_file(path, f"{name}/{path.relative_to(source)}")
                    if path.suffix == ".so" or ".so." in path.name:
                        needed |= libraries(path)
        else:
            archive.add_file(source, name)
            needed |= libraries(source)
    for library in needed:
        archive.add_file(library.resolve(), str(library))
    return archive.compressed()


def boot(
    kernel: str,
    files: Iterable[tuple[Path, str]],
    command: str,
    *,
    cpus: int = 2,
    memory: str = "1G",
    timeout: float = 600,
    append: str = "",
    show: bool = True,
) -> tuple[int, str]:
    """Runs a shell command in a machine of its own. Gives its exit status and the
    whole output; GuestError where it did not come to its end."""
    qemu = shutil.which("qemu-system-x86_64")
    if qemu is None:
        raise GuestError("QEMU is missing; install with:  sudo apt-get install qemu-system-x86")
    image = kernel_image(kernel)
    with tempfile.NamedTemporaryFile(suffix=".cpio.gz") as ramdisk:
        ramdisk.write(initramfs(files, command))
        ramdisk.flush()
        arguments = [
            *(qemu, "-machine", "q35,accel=tcg", "-cpu", "max", "-smp", str(cpus), "-m", memory),
            *("-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio"),
            *("-kernel", str(image), "-initrd", ramdisk.name),
            *("-append", f"console=ttyS0 quiet panic=-1 oops=panic {append}"),
        ]
        for left in reversed(range(ATTEMPTS)):
            try:
                return _run_machine(arguments, timeout, show)
            except GuestError as error:
                if not left or not STALE_CODE.search(str(error)):
                    raise
                print("guest: QEMU executed stale code; starting anew", file=sys.stderr)
    raise AssertionError("the last attempt returns or raises")


def _run_machine(arguments: Sequence[str], timeout: float, show: bool) -> tuple[int, str]:
    lines: list[str] = []
    with subprocess.Popen(
        arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, errors="replace"
    ) as process:
        # Its output ends when it is killed.
        watchdog = threading.Timer(timeout, process.kill)
        watchdog.start()
        try:
            return _follow(process, lines, show), "".join(lines)
        finally:
            watchdog.cancel()
            process.kill()


def _follow(process: subprocess.Popen[str], lines: list[str], show: bool) -> int:
    assert process.stdout is not None
    for line in process.stdout:
        done = DONE.search(line)
        if done:
            return int(done[1])
        lines.append(line)
        if show:
            print(line, end="", flush=True)
    raise GuestError("the machine did not come to its end:\n" + "".join(lines[-200:]))


def main() -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--kernel", default="6.12", help="6.1, 6.12 or a path (default 6.12)")
    options.add_argument("--cpus", type=int, default=2, help="virtual CPUs (default 2)")
    options.add_argument("--memory", default="1G", help="memory (default 1G)")
    options.add_argument("--timeout", type=float, default=600, help="seconds (default 600)")
    options.add_argument("--append", default="", help="more of the kernel's command line")
    options.add_argument(
        "--file", action="append", default=[], metavar="SOURCE:NAME", help="a file or directory"
    )
    options.add_argument("command", nargs="+", help="a shell command")
    chosen = options.parse_args()
    files = []
    for pair in chosen.file:
        source, _, name = pair.partition(":")
        files.append((Path(source), name or source))
    try:
        status, _ = boot(
            chosen.kernel,
            files,
            " ".join(chosen.command),
            cpus=chosen.cpus,
            memory=chosen.memory,
            timeout=chosen.timeout,
            append=chosen.append,
        )
    except GuestError as error:
        print(f"guest: {error}", file=sys.stderr)
        return 125
    return status


if __name__ == "__main__":
    sys.exit(main())
