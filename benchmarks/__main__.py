"""All benchmarks, each in a process of its own: `python -m benchmarks [--quick] [--only NAME,…]`."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence

from benchmarks import stopping

ALL = {
    "ingest": ("--quick",),
    "processes": ("--quick",),
    "hosts": ("--quick",),
    "workers": ("--quick",),
    "commands": ("--quick",),
    "turrets": ("--quick",),
    "turret_fire": ("--quick",),
    "turret_faults": ("--quick",),
    "verdicts": ("--suites", "4"),
    "ab": ("--tests", "100"),
    "console": ("--quick",),
    "soak": ("--minutes", "1", "--machines", "20", "--programs", "10"),
}
"""The benchmarks in their order, and what makes each short."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run them; return the worst exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few minutes: it shows that everything works")
    parser.add_argument("--only", metavar="NAME,…", default=",".join(ALL), help=f"some of {', '.join(ALL)}")
    options = parser.parse_args(arguments)
    wanted = options.only.split(",")
    if unknown := [name for name in wanted if name not in ALL]:
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(ALL)}")
    codes = {}
    for name in wanted:
        print(f"== {name}", file=sys.stderr, flush=True)
        short = ALL[name] if options.quick else ()
        codes[name] = _run(name, short)
        print(flush=True)
    for name, code in codes.items():
        if code:
            print(f"== {name} ended with {code}", file=sys.stderr)
    return max(codes.values())


def _run(name: str, words: Sequence[str]) -> int:
    """Run a benchmark, and return its exit code; if this program is stopped, let the benchmark stop in order first."""
    with subprocess.Popen([sys.executable, "-m", f"benchmarks.{name}", *words]) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            raise


if __name__ == "__main__":
    sys.exit(stopping.run(main))
