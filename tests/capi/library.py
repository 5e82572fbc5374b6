"""The C library, installed for a test, and programs that are built with it."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Werror", "-std=gnu11", "-g", "-O1")


@dataclass(frozen=True)
class Library:
    """The files below `root`, installed with the prefix /usr."""

    root: Path

    @property
    def usr(self) -> Path:
        return self.root / "usr"

    @property
    def lib(self) -> Path:
        return self.usr / "lib"

    def pkg_config(self, *options: str) -> list[str]:
        """The options of a compiler, as pkg-config prints them for these files."""
        environment = os.environ | {
            "PKG_CONFIG_LIBDIR": str(self.lib / "pkgconfig"),
            "PKG_CONFIG_SYSROOT_DIR": str(self.root),
            "PKG_CONFIG_ALLOW_SYSTEM_CFLAGS": "1",
            "PKG_CONFIG_ALLOW_SYSTEM_LIBS": "1",
        }
        printed = subprocess.run(
            ["pkg-config", *options, "taskstats"],
            check=True,
            env=environment,
            text=True,
            capture_output=True,
        )
        return printed.stdout.split()

    def program(self, name: str, to: Path, compiler: str = "gcc", *, static: bool = False) -> Path:
        """Builds a program of this folder from the installed files alone."""
        built = to / name
        libraries = self.pkg_config("--libs", *(["--static"] if static else []))
        if static:
            archive = str(self.lib / "libtaskstats.a")
            libraries = [archive if word == "-ltaskstats" else word for word in libraries]
        subprocess.run(
            [
                *(compiler, *WARNINGS, *self.pkg_config("--cflags")),
                *(str(ROOT / "tests/capi" / f"{name}.c"), "-o", str(built)),
                *(*libraries, f"-Wl,-rpath,{self.lib}"),
            ],
            check=True,
        )
        return built


def installed(root: Path) -> Library:
    """Builds the library and installs it below `root`."""
    for step in ("build", "install"):
        subprocess.run(
            ["sh", "tools/capi.sh", step],
            cwd=ROOT,
            check=True,
            env=os.environ | {"DESTDIR": str(root), "PREFIX": "/usr"},
        )
    return Library(root)
