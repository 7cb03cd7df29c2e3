"""smartmob.toml: what it says, and which faults refuse which process types."""

from __future__ import annotations

from itertools import pairwise

import pytest

from smartmob.processes import model
from smartmob.processes.preparation import options_file
from smartmob.processes.preparation.options_file import BadOptions

TYPES = ("web", "db", "job")


def test_a_type_has_its_options() -> None:
    """An option that is not given keeps its default, also for a type without a table."""
    found = options_file.parse(
        b"""
        [processes.web]
        depends_on = {db = "ready", job = "completed"}
        readiness = {http = "/health", interval = 1, timeout = 0.5}
        liveness.command = "./alive --port $PORT"
        [processes.job]
        restart = "on-failure"
        """,
        TYPES,
    )
    assert found.of("web") == model.Options(
        readiness=model.HealthCheck(http="/health", interval=1.0, timeout=0.5),
        liveness=model.HealthCheck(command="./alive --port $PORT"),
        depends_on={"db": "ready", "job": "completed"},
    )
    assert found.of("job") == model.Options(restart="on-failure")
    assert found.of("db") == model.Options()


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("restart = 'sometimes'", "restart: invalid enum value 'sometimes'"),
        ("restarts = 'never'", "object contains unknown field `restarts`; did you mean restart?"),
        ("readiness = {}", "readiness: expected exactly one of http, tcp and command"),
        ("readiness = {http = '/', tcp = 80}", "readiness: expected exactly one of http, tcp and command"),
        ("readiness = {http = 'health'}", "readiness: http 'health': expected a path"),
        ("liveness = {tcp = 80, interval = 0}", "liveness.interval: expected `float` >= 0.1"),
        ("liveness = {tcp = 80, interval = nan}", "liveness.interval: expected"),
        ("liveness = {tcp = 80, interval = inf}", "liveness.interval: expected"),
        ("liveness = {tcp = 80, failure_threshold = 1.5}", "liveness.failure_threshold: expected `int`, got `float`"),
        ("liveness = {tcp = 80, period = 1}", "liveness: object contains unknown field `period`"),
        ("depends_on = ['db']", "depends_on: expected `object`, got `array`"),
        ("depends_on = {db = 'healthy'}", "depends_on: invalid enum value 'healthy'"),
        (
            "depends_on = {bd = 'ready'}",
            "depends_on: the Procfile has no 'bd'; it has db, job, web; did you mean 'db'?",
        ),
        ("depends_on = {release = 'completed'}", "depends_on: release runs before all others and is gone then"),
        ("depends_on = {web = 'ready'}", "depends_on: it depends on itself: web -> web"),
    ],
)
def test_a_fault_refuses_only_its_type(table: str, reason: str) -> None:
    """The message is one line with the file, the table and the key; other types run."""
    found = options_file.parse(f"[processes.web]\n{table}\n[processes.db]\nrestart = 'never'\n".encode(), TYPES)
    with pytest.raises(BadOptions) as caught:
        found.of("web")
    assert str(caught.value).startswith(f"smartmob.toml: [processes.web]: {reason}")
    assert "\n" not in str(caught.value)
    assert found.of("db").restart == "never"


def test_a_byte_order_mark_is_left_out() -> None:
    """Editors of Windows write one."""
    found = options_file.parse(b"\xef\xbb\xbf[processes.web]\nrestart = 'never'\n", TYPES)
    assert found.of("web").restart == "never"


def test_a_cycle_is_named_and_refuses_its_types() -> None:
    """A type that depends on one of them is not in it."""
    text = "".join(
        f"[processes.{name}]\ndepends_on = {{{other} = 'started'}}\n"
        for name, other in (("web", "db"), ("db", "web"), ("job", "web"))
    )
    found = options_file.parse(text.encode(), TYPES)
    with pytest.raises(BadOptions, match="it depends on itself: web -> db -> web"):
        found.of("web")
    with pytest.raises(BadOptions, match="it depends on itself: db -> web -> db"):
        found.of("db")
    assert found.of("job").depends_on == {"web": "started"}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"[processes.web", "Expected"),
        (b"\xff", "byte 1 of the file is not UTF-8"),
        (b"[process.web]", "unknown table or key 'process'; expected [processes.TYPE]"),
        (b"processes = 1", "processes: expected tables"),
        (b"[processes.wbe]", "[processes.wbe]: the Procfile has no 'wbe'; it has db, job, web; did you mean 'web'?"),
        (b"x = " + b"[" * 100_000, ""),
        (b"a." * 250 + b"a = 1", "line 1 has more than 200 dots"),
        (b"#" * 300_000, "the file has more than 262144 bytes"),
    ],
)
def test_a_fault_of_no_single_type_refuses_all(data: bytes, reason: str) -> None:
    """One line says what is wrong."""
    with pytest.raises(BadOptions) as caught:
        options_file.parse(data, TYPES)
    assert str(caught.value).startswith("smartmob.toml: " + reason)


def test_a_table_that_is_no_table_is_a_fault_of_its_type() -> None:
    """So is one whose types are not known, where the command comes from elsewhere."""
    found = options_file.parse(b"[processes]\nweb = 1\nother = {restart = 'never'}", None)
    assert found.of("other").restart == "never"
    with pytest.raises(BadOptions, match="expected a table"):
        found.of("web")


def test_a_long_chain_of_dependencies_is_read_in_linear_time() -> None:
    """Each type is looked at once, however long the file may be."""
    names = [f"t{number}" for number in range(5_000)]
    chain = "".join(f"[processes.{a}]\ndepends_on.{b}='ready'\n" for a, b in pairwise(names))
    found = options_file.parse(chain.encode(), names)
    assert found.of("t0").depends_on == {"t1": "ready"}
