#!/usr/bin/env python3
"""Runs a command in a virtual machine with a kernel of one's choice.

    tools/guest.py --kernel 6.12 --file target/debug/deps/live:/live -- /live --quiet

`--kernel` is the name of a stock Debian kernel (tools/stock_kernels.py; fetched once and
kept in the cache) or the path of a kernel image. The machine has the files that are named,
with the shared libraries they need, busybox, and nothing else; software emulates it. The
command's output is printed as it comes, its exit status is passed on.
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
import tempfile
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import aarch64
import stock_kernels
from debian import DebianError

ROOT = Path(__file__).resolve().parent.parent
DONE = re.compile(r"guest: exit status (\d+)")
# An emulated CPU may go on executing a breakpoint that the kernel has taken away again, as it
# does each time that it patches its code: seen with QEMU 7.2 on a busy machine, when tracepoints
# are switched on and off. The kernel then meets one that nobody has set. No program here can
# bring that about. Linux 5.10 had a CPU stand still for ever instead, at a nop of __schedule() that
# it had just patched and with the lock of its queue held, in four of thirteen boots.
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
[ -e /proc/sys/kernel/task_delayacct ] && echo 1 > /proc/sys/kernel/task_delayacct
sh /command
echo "guest: exit status $?"
poweroff -f
"""


class GuestError(Exception):
    """The machine could not be started, or did not come to its end after `output`."""

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.output = output


@dataclass(frozen=True)
class Machine:
    """What QEMU emulates for an architecture."""

    qemu: str
    package: str
    options: tuple[str, ...]
    console: str
    # More of the kernel's command line.
    append: str = ""


X86 = Machine(
    "qemu-system-x86_64",
    "qemu-system-x86",
    ("-machine", "q35", "-cpu", "max"),
    console="ttyS0",
    # On a busy machine the kernel sees no timer interrupt for so long that it gives up.
    append="no_timer_check",
)
ARM = Machine(
    "qemu-system-aarch64",
    "qemu-system-arm",
    # Signed pointers in the architecture's own way take most of the time in emulation.
    ("-machine", "virt", "-cpu", "max,pauth-impdef=on"),
    console="ttyAMA0",
)


def machine_for(image: Path) -> Machine:
    """The machine that boots a kernel image."""
    with image.open("rb") as file:
        head = file.read(64)
    # Documentation/arch/arm64/booting.rst
    return ARM if head[56:60] == b"ARM\x64" else X86


def kernel_image(kernel: str) -> Path:
    """The image of a stock kernel, fetched if it is not in the cache; or a path."""
    path = Path(kernel)
    if "/" in kernel:
        if not path.is_file():
            raise GuestError(f"no kernel image {kernel}")
        return path
    try:
        return stock_kernels.find(kernel).image
    except (stock_kernels.NoKernelError, stock_kernels.ImageError, DebianError) as error:
        raise GuestError(str(error)) from error


def rust_tests() -> dict[str, Path]:
    """Build the test programs of the crate of sources. Those in its tests/ have their own
    names, the one inside the library is "unit"."""
    built = subprocess.run(
        ["cargo", "test", "--no-run", "--quiet", "--message-format=json"],
        cwd=ROOT / "rust/sources",
        check=True,
        text=True,
        stdout=subprocess.PIPE,
    )
    programs = {}
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable"):
            target = message["target"]
            name = "unit" if "lib" in target["kind"] else target["name"]
            programs[name] = Path(message["executable"])
    return programs


def libraries(program: Path) -> set[Path]:
    """Shared libraries that a program needs, with its loader."""
    done = subprocess.run(["ldd", str(program)], check=False, text=True, capture_output=True)
    return {Path(found) for found in re.findall(r"(/\S+) \(0x", done.stdout)}


class Archive:
    """An initramfs: a cpio archive in the "newc" format. Python writes it, so that device
    nodes need no privilege and no file is copied first."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.names: set[str] = set()

    def add(
        self, name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)
    ) -> None:
        """Add an entry and the folders it is in. The first entry of a name stays."""
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


def busybox_for(machine: Machine) -> Path:
    """The shell of a machine, for its architecture."""
    if machine is ARM:
        try:
            return aarch64.busybox()
        except DebianError as error:
            raise GuestError(str(error)) from error
    busybox = shutil.which("busybox")
    if busybox is None:
        raise GuestError("busybox is missing; install with:  sudo apt-get install busybox-static")
    return Path(busybox)


def initramfs(files: Iterable[tuple[Path, str]], command: str, busybox: Path) -> bytes:
    """The files of a machine, compressed. Files for another architecture bring their own
    libraries."""
    archive = Archive()
    archive.add("init", stat.S_IFREG | 0o755, INIT.encode())
    archive.add("command", stat.S_IFREG | 0o644, command.encode())
    archive.add("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
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
    archive.add_file(busybox, "bin/busybox")
    return archive.compressed()


def boot(
    image: Path,
    files: Iterable[tuple[Path, str]],
    command: str,
    *,
    cpus: int = 2,
    memory: str = "1G",
    timeout: float = 600,
    append: str = "",
    one_thread: bool = False,
    show: bool = True,
) -> tuple[int, str]:
    """Run a shell command in a machine of its own. Returns its exit status and the whole
    output. Raises GuestError if the machine does not come to its end. With `one_thread` its CPUs
    take turns in one thread: see STALE_CODE."""
    machine = machine_for(image)
    qemu = shutil.which(machine.qemu)
    if qemu is None:
        raise GuestError(f"QEMU is missing; install with:  sudo apt-get install {machine.package}")
    with tempfile.NamedTemporaryFile(suffix=".cpio.gz") as ramdisk:
        ramdisk.write(initramfs(files, command, busybox_for(machine)))
        ramdisk.flush()
        arguments = [
            *(qemu, *machine.options, "-smp", str(cpus), "-m", memory),
            *("-accel", f"tcg,thread={'single' if one_thread else 'multi'}"),
            *("-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio"),
            *("-kernel", str(image), "-initrd", ramdisk.name),
            "-append",
            f"console={machine.console} quiet panic=-1 oops=panic {machine.append} {append}",
        ]
        for left in reversed(range(ATTEMPTS)):
            try:
                return _run_machine(arguments, timeout, show)
            except GuestError as error:
                if not left or not STALE_CODE.search(str(error)):
                    raise
                print("guest: QEMU executed stale code; booting again", file=sys.stderr)
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
    last = "".join(lines[-200:])
    raise GuestError(f"the machine did not come to its end:\n{last}", "".join(lines))


def main() -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--kernel", default="6.12", help="a stock kernel or a path (default 6.12)")
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
            kernel_image(chosen.kernel),
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
