"""What is remembered, and when it is forgotten."""

from __future__ import annotations

from smartmob.metrics.verdict.cache import VerdictCache

NOBODY: frozenset[str] = frozenset()


def _memory(most: int = 3) -> VerdictCache[str]:
    """Return a memory that has the value `v` of `k`, which waits for the context `c` and depends on the session `s`."""
    memory: VerdictCache[str] = VerdictCache(most)
    with memory.track_changes() as changed:
        memory.put("k", "v", 10.0, changed, frozenset({"s"}), frozenset({"c"}))
    return memory


def test_it_is_remembered() -> None:
    """A value is given until its end, and until something else is stored."""
    memory = _memory()
    memory.invalidate("other", "another")
    assert (memory.get("k", 10.0), memory.get("k", 10.1), memory.get("x", 0.0)) == ("v", None, None)


def test_it_is_forgotten() -> None:
    """A metric of its session, or of the context that it waits for, and everything at once."""
    for session_h, context_h in (("s", "x"), ("x", "c")):
        memory = _memory()
        memory.invalidate(session_h, context_h)
        assert memory.get("k", 0.0) is None
    memory = _memory()
    memory.invalidate_all()
    assert memory.get("k", 0.0) is None


def test_what_changed_meanwhile() -> None:
    """A value that was overtaken while it was made is not remembered; what does not concern it does not matter."""
    memory: VerdictCache[str] = VerdictCache()
    for number, (session_h, kept) in enumerate((("s", None), ("x", "v"))):
        with memory.track_changes() as changed:
            memory.invalidate(session_h, "x")
            memory.put(number, "v", 10.0, changed, frozenset({"s"}), NOBODY)
        assert memory.get(number, 0.0) == kept
    with memory.track_changes() as changed:
        memory.invalidate_all()
        memory.put("k", "v", 10.0, changed, frozenset({"s"}), NOBODY)
    assert memory.get("k", 0.0) is None


def test_it_has_a_bound() -> None:
    """What was not asked for the longest goes first, and nothing of it stays behind."""
    memory = _memory()
    for key in ("a", "b"):
        memory.put(key, key, 10.0, set(), frozenset({"s"}), NOBODY)
    assert memory.get("k", 0.0) == "v"
    memory.put("c", "c", 10.0, set(), frozenset({"t"}), NOBODY)
    assert [memory.get(key, 0.0) for key in ("k", "a", "b", "c")] == ["v", None, "b", "c"]
    memory.invalidate("s", "")
    assert [memory.get(key, 0.0) for key in ("k", "b", "c")] == [None, None, "c"]


def test_a_value_is_replaced() -> None:
    """The later one counts, with what it depends on."""
    memory = _memory()
    memory.put("k", "w", 10.0, set(), frozenset({"t"}), NOBODY)
    memory.invalidate("s", "c")
    assert memory.get("k", 0.0) == "w"
    memory.invalidate("t", "")
    assert memory.get("k", 0.0) is None
