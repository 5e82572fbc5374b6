"""Prints, in hex, the netlink answers for a sleeping child: PID, TGID, and an unknown id."""

import os
import signal
import socket
import struct
import time
from pathlib import Path

TYPES = {"pid": 1, "tgid": 2}


def attribute(kind: int, payload: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def ask(netlink: socket.socket, family: int, command: int, body: bytes) -> bytes:
    length = 20 + len(body)
    netlink.send(struct.pack("=IHHIIBBH", length, family, 1, 7, 0, command, 1, 0) + body)
    return netlink.recv(65536)


def main() -> None:
    done, report = os.pipe()
    child = os.fork()
    if not child:
        os.nice(5)
        # Use more than a tick of each kind of time, then sleep.
        while min(os.times()[:2]) < 0.1:
            os.listdir("/proc")
        os.write(report, b"x")
        time.sleep(1000)
    os.read(done, 1)
    while Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] != "S":
        time.sleep(0.01)
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16)
    answer = ask(netlink, 16, 3, attribute(2, b"TASKSTATS\0"))
    place = answer.index(struct.pack("=HH", 6, 1)) + 4
    (family,) = struct.unpack_from("=H", answer, place)
    # Ids vary from boot to boot.
    for name, kind in TYPES.items():
        for pid in (child, 1 << 22):
            answer = ask(netlink, family, 1, attribute(kind, struct.pack("=I", pid)))
            print("answer", name, pid == child, child, answer.hex())
    os.kill(child, signal.SIGKILL)


main()
