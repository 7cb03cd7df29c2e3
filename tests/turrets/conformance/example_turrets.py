"""The turret of the documentation, and turrets that are like it except for one mistake."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from smartmob.turrets.conformance.rules import RuleResult
from smartmob.turrets.conformance.turret_check import CheckOptions, TurretCheck

PAGE = Path(__file__).parents[3] / "docs" / "howto" / "write-a-turret.md"

STOPS = 'elif command == "stop"'
STARTS_ANOTHER = """elif command == "start":
                cannons.append(threading.Thread(target=fire_cannon, args=(started, 0, stopped), daemon=True))
                cannons[-1].start()
"""

MISTAKES = {
    "frames": [("def main():", "def main():\n    collector.send(b'hello')")],
    "status-fields": [('"rampup": RAMPUP', '"rampup": None')],
    "status-values": [('"cannons": CANNONS', '"cannons": CANNONS + 1')],
    "uuid": [("str(uuid.uuid4())", '"turret-1"')],
    "documented-keys": [('"custom_timers": {},', '"custom_timers": {}, "thread": 1,')],
    "answers": [
        ("            send(ABOUT |", "            if time.monotonic() > due:\n                send(ABOUT |"),
        ('{"status": status})  #', '{"status": status})\n                due = time.monotonic() + 2  #'),
        ("    try:\n        while True", "    due = 0\n    try:\n        while True"),
    ],
    "running-status": [('status = "Running"\n', 'status = "Busy"\n'), ('== "Running"', '== "Busy"')],
    "rampup": [("number * RAMPUP / CANNONS", "0")],
    "repeated-start": [(STOPS, f"{STARTS_ANOTHER}            {STOPS}")],
    "result-elapsed": [('"elapsed": ended - started', '"elapsed": ended - begun')],
    "result-epoch": [('"epoch": time.time()', '"epoch": time.time() * 1000')],
    "counts": [("        while not send(result)", "        send(result)\n        while not send(result)")],
    "spare-stop": [
        (' == "stop" and status == "Running"', ' == "stop"'),
        (
            "stopped.set()\n                for",
            "_ = 1 / len(cannons)\n                stopped.set()\n                for",
        ),
        ("cannon.join()  #", "cannon.join()\n                cannons = []  #"),
    ],
    "broken-orders": [("ValueError, KeyError, ", "")],
    "orders-of-others": [('if channel not in (b"", UUID.encode())', "if False")],
    "errors": [('"error": error', '"error": ""')],
    "survives-errors": [
        (
            "            time.sleep(0.1)  #",
            "            time.sleep(0.1)\n        if error:\n            stopped.wait()  #",
        )
    ],
    "stops": [('elif command == "stop"', 'elif command == "halt"')],
    "ends-on-sigterm": [("lambda *_: sys.exit(0)", "signal.SIG_IGN")],
    "leaves-no-process": [
        (
            "def main():",
            "def main():\n    import subprocess\n    subprocess.Popen(['sleep', '600'], start_new_session=True)",
        )
    ],
}
"""Changes of the good turret, each of which breaks the rule by whose name it stands, and no other."""


_CHECKED_IN_FULL = ("", "uuid")
"""The turret without a mistake, and the one whose mistake shows when it is started again."""


class RequiredParts(TurretCheck):
    """A check without the optional parts, for each of which the turret is started once more."""

    async def check_optional_parts(self) -> None:
        """Leave them out: they are the same in all examples."""


def good_turret() -> str:
    """Return the program on the page about writing turrets."""
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


async def checked(folder: Path, name: str, source: str) -> list[RuleResult]:
    """Return what a check finds about a turret in Python; `name` is its mistake, if it has one."""
    path = folder / f"turret_{name}.py"
    path.write_text(source, encoding="utf-8")
    # On a busy machine few results come in a second, and cannons seldom fire at once.
    options = CheckOptions(command=(sys.executable, str(path)), run_time=6.0, patience=40.0, limit=800.0)
    check = TurretCheck if name in _CHECKED_IN_FULL else RequiredParts
    return await check(options, lambda text: None).run()


def broken(checks: list[RuleResult]) -> dict[str, str]:
    """Return the broken rules, each with the reason."""
    return {one.rule: f"{one.why} {one.frame}" for one in checks if one.result == "failed"}


def with_mistake(rule: str) -> str:
    """Return the turret of the documentation with the mistake that breaks a rule."""
    source = good_turret()
    for right, wrong in MISTAKES[rule]:
        assert right in source, f"the page no longer has {right!r}"
        source = source.replace(right, wrong)
    return source
