"""Rewrites the netlink captures of this directory (as root, on the running kernel)."""

import socket
import struct
import subprocess
import sys
from pathlib import Path

NETLINK_GENERIC = 16
ACKNOWLEDGE = 4
HERE = Path(__file__).parent
# Offset of the first record in an answer, and of its ac_tgid (versions 12 to 14, 16).
RECORD = 36
AC_TGID = 368
# A process whose leader and another thread exit one after the other.
TWO_THREADS = "import threading; t = threading.Thread(target=sum, args=[range(9**6)]); t.start()"


def attribute(kind: int, payload: bytes) -> bytes:
    length = 4 + len(payload)
    return struct.pack("=HH", length, kind) + payload + bytes(-length % 4)


def opened() -> socket.socket:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_GENERIC)
    sock.bind((0, 0))
    sock.settimeout(10)
    return sock


def ask(sock: socket.socket, family: int, command: int, payload: bytes, flags: int = 0) -> bytes:
    body = struct.pack("=BBH", command, 1, 0) + payload
    sock.send(struct.pack("=IHHII", 16 + len(body), family, 1 | flags, 1, 0) + body)
    return sock.recv(65536)


def exits(family: int) -> dict[str, bytes]:
    """The datagrams that the kernel sends at the exit of a thread: with one record, and
    for the last thread of a group with a second one for the group."""
    sock = opened()
    cpus = Path("/sys/devices/system/cpu/possible").read_bytes().strip() + b"\0"
    answer = ask(sock, family, 1, attribute(3, cpus), ACKNOWLEDGE)
    assert struct.unpack_from("=i", answer, 16) == (0,), "the kernel sends no exit events"
    with subprocess.Popen([sys.executable, "-c", TWO_THREADS]) as child:
        pass
    found: dict[str, bytes] = {}
    while len(found) < 2:
        datagram = sock.recv(65536)
        (group,) = struct.unpack_from("=I", datagram, RECORD + AC_TGID)
        if group == child.pid:
            (record,) = struct.unpack_from("=H", datagram, RECORD - 4)
            last = len(datagram) > RECORD + record
            found["exit-last" if last else "exit"] = datagram
    return found


def main() -> None:
    sock = opened()
    answer = ask(sock, 16, 3, attribute(2, b"TASKSTATS\0"))
    at = answer.index(struct.pack("=HH", 6, 1), 20) + 4
    (family,) = struct.unpack_from("=H", answer, at)
    with subprocess.Popen(["sleep", "60"]) as child:
        pid = struct.pack("=I", child.pid)
        captures = {
            "pid": ask(sock, family, 1, attribute(1, pid)),
            "tgid": ask(sock, family, 1, attribute(2, pid)),
        }
        child.kill()
    captures["esrch"] = ask(sock, family, 1, attribute(1, struct.pack("=I", 2**31 - 1)))
    captures |= exits(family)
    (version,) = struct.unpack_from("=H", captures["pid"], RECORD)
    for name, data in captures.items():
        (HERE / f"netlink-{name}-v{version}.bin").write_bytes(data)
    sys.stdout.write(f"wrote {len(captures)} captures of version {version}\n")


if __name__ == "__main__":
    main()
