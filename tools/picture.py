"""Writes docs/ptop.svg, the picture of the live view in README.md: what a terminal shows.

Design decisions

* ptop runs on a pseudo terminal next to a small load, in an emulated machine that has nothing
  else, and pyte is the terminal. The picture is made of its cells, with their colours, so that
  it cannot differ from the program.
"""

from __future__ import annotations

import base64
import re
import sys
import tempfile
from collections.abc import Iterator
from html import escape
from itertools import groupby
from pathlib import Path

import guest
import guest_python
import pyte
from pyte.screens import Char

PICTURE = Path(__file__).parent.parent / "docs/ptop.svg"
COLUMNS, LINES = 110, 28
# Size of a cell, and the margin around them.
WIDTH, HEIGHT, MARGIN = 8.43, 18, 12
SECONDS = 60
KERNEL = "6.18"
FRONT, BACK = "#d8dee9", "#16181d"
COLORS = {
    "black": "#16181d",
    "red": "#e06c75",
    "green": "#98c379",
    "brown": "#e5c07b",
    "blue": "#61afef",
    "magenta": "#c678dd",
    "cyan": "#56b6c2",
    "white": "#d8dee9",
}

# Runs in the machine: two busy loops, a shell that starts one program after another, and ptop;
# writes what ptop wrote.
PROGRAM = f"""
import base64, fcntl, os, pty, select, struct, subprocess, sys, termios, time
for script in ("while :; do :; done", "while :; do :; done", "while :; do ls / >/dev/null; done"):
    subprocess.Popen(["sh", "-c", script])
pid, master = pty.fork()
if not pid:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", {LINES}, {COLUMNS}, 0, 0))
    os.environ |= {{"TERM": "xterm-256color", "LANG": "C.UTF-8", "COLUMNS": "{COLUMNS}"}}
    os.execv(sys.executable, [sys.executable, "-m", "ptop"])
written, end = b"", time.monotonic() + {SECONDS}
while time.monotonic() < end:
    if select.select([master], [], [], 1)[0]:
        written += os.read(master, 65536)
print("picture:", base64.b64encode(written).decode(), flush=True)
"""


def screen() -> pyte.Screen:
    """What the terminal shows after some intervals."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "program.py"
        program.write_text(PROGRAM)
        files, python = guest_python.stage(Path(folder) / "python")
        files = [*files, (program, "/program.py")]
        names = "hostname vm; mkdir -p /etc; echo root:x:0:0::/root:/bin/sh >/etc/passwd"
        command = f"{names}; {python} /program.py"
        image = guest.kernel_image(KERNEL)
        _, output = guest.boot(image, files, command, memory="2G", show=False)
    written = re.search(r"picture: ([A-Za-z0-9+/=]+)", output)
    if written is None:
        raise SystemExit(f"no picture: {output[-2000:]}")
    shown = pyte.Screen(COLUMNS, LINES)
    pyte.ByteStream(shown).feed(base64.b64decode(written[1]))
    return shown


def colors(cell: Char) -> tuple[str, str]:
    """Foreground and background of a cell."""

    def rgb(name: str, usual: str) -> str:
        if name == "default":
            return usual
        return COLORS.get(name.removeprefix("bright"), f"#{name}")

    front, back = rgb(cell.fg, FRONT), rgb(cell.bg, BACK)
    return (back, front) if cell.reverse else (front, back)


def spans(shown: pyte.Screen) -> Iterator[str]:
    """The elements of the picture: runs of cells that look the same."""
    for line in range(LINES):
        cells = [shown.buffer[line][column] for column in range(COLUMNS)]
        at = 0
        for (front, back, bold), run in groupby(cells, lambda cell: (*colors(cell), cell.bold)):
            text = "".join(cell.data for cell in run)
            number = len(text)
            x, y = MARGIN + at * WIDTH, MARGIN + line * HEIGHT
            if back != BACK:
                size = f'width="{number * WIDTH:.1f}" height="{HEIGHT}"'
                yield f'<rect x="{x:.1f}" y="{y}" {size} fill="{back}"/>'
            if text.strip():
                weight = ' font-weight="bold"' if bold else ""
                length = f'textLength="{number * WIDTH:.1f}"'
                place = f'x="{x:.1f}" y="{y + HEIGHT - 5}"'
                yield f'<text {place} {length} fill="{front}"{weight}>{escape(text)}</text>'
            at += number


def picture(shown: pyte.Screen) -> str:
    """The screen as SVG."""
    width, height = COLUMNS * WIDTH + 2 * MARGIN, LINES * HEIGHT + 2 * MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height}"'
            ' font-family="monospace" font-size="14" xml:space="preserve">',
            f'<rect width="100%" height="100%" rx="8" fill="{BACK}"/>',
            *spans(shown),
            "</svg>\n",
        ]
    )


def main() -> int:
    PICTURE.write_text(picture(screen()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
