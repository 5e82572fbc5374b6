"""Writes the netlink captures of this directory anew (as root, on the running kernel)."""

import socket
import struct
import subprocess
import sys
from pathlib import Path

NETLINK_GENERIC = 16
HERE = Path(__file__).parent


def attribute(kind: int, payload: bytes) -> bytes:
    length = 4 + len(payload)
    return struct.pack("=HH", length, kind) + payload + bytes(-length % 4)


def ask(sock: socket.socket, family: int, command: int, payload: bytes) -> bytes:
    body = struct.pack("=BBH", command, 1, 0) + payload
    sock.send(struct.pack("=IHHII", 16 + len(body), family, 1, 1, 0) + body)
    return sock.recv(65536)


def main() -> None:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_GENERIC)
    sock.bind((0, 0))
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
    (version,) = struct.unpack_from("=H", captures["pid"], 36)
    for name, data in captures.items():
        (HERE / f"netlink-{name}-v{version}.bin").write_bytes(data)
    sys.stdout.write(f"wrote {len(captures)} captures of version {version}\n")


if __name__ == "__main__":
    main()
