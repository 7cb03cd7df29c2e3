"""The cache of verdicts, and the invalidation of its entries."""

from __future__ import annotations

from smartmob.metrics.verdict.cache import VerdictCache

NOTHING: frozenset[str] = frozenset()


def _cache(max_entries: int = 3) -> VerdictCache[str]:
    """Return a cache with the value `v` of the key `k`, which depends on the session `s` and the context `c`."""
    cache: VerdictCache[str] = VerdictCache(max_entries)
    with cache.track_changes() as changed:
        cache.put("k", "v", 10.0, changed, frozenset({"s"}), frozenset({"c"}))
    return cache


def test_a_value_is_cached_until_it_expires() -> None:
    """A value is returned until its end, and stays when something else is stored."""
    cache = _cache()
    cache.invalidate("other", "another")
    assert (cache.get("k", 10.0), cache.get("k", 10.1), cache.get("x", 0.0)) == ("v", None, None)


def test_a_value_is_dropped_when_its_session_or_context_changes() -> None:
    """A metric of its session or of its context drops a value, and so does a complete invalidation."""
    for session_h, context_h in (("s", "x"), ("x", "c")):
        cache = _cache()
        cache.invalidate(session_h, context_h)
        assert cache.get("k", 0.0) is None
    cache = _cache()
    cache.invalidate_all()
    assert cache.get("k", 0.0) is None


def test_a_value_that_changed_meanwhile_is_not_stored() -> None:
    """A value whose sessions changed while it was computed is not cached; other changes do not matter."""
    cache: VerdictCache[str] = VerdictCache()
    for number, (session_h, kept) in enumerate((("s", None), ("x", "v"))):
        with cache.track_changes() as changed:
            cache.invalidate(session_h, "x")
            cache.put(number, "v", 10.0, changed, frozenset({"s"}), NOTHING)
        assert cache.get(number, 0.0) == kept
    with cache.track_changes() as changed:
        cache.invalidate_all()
        cache.put("k", "v", 10.0, changed, frozenset({"s"}), NOTHING)
    assert cache.get("k", 0.0) is None


def test_the_least_recently_used_value_is_dropped() -> None:
    """Above the limit the value that was not used for the longest time is dropped, with its index entries."""
    cache = _cache()
    for key in ("a", "b"):
        cache.put(key, key, 10.0, set(), frozenset({"s"}), NOTHING)
    assert cache.get("k", 0.0) == "v"
    cache.put("c", "c", 10.0, set(), frozenset({"t"}), NOTHING)
    assert [cache.get(key, 0.0) for key in ("k", "a", "b", "c")] == ["v", None, "b", "c"]
    cache.invalidate("s", "")
    assert [cache.get(key, 0.0) for key in ("k", "b", "c")] == [None, None, "c"]


def test_a_later_value_replaces_an_earlier_one() -> None:
    """The later value counts, with its own sessions and contexts."""
    cache = _cache()
    cache.put("k", "w", 10.0, set(), frozenset({"t"}), NOTHING)
    cache.invalidate("s", "c")
    assert cache.get("k", 0.0) == "w"
    cache.invalidate("t", "")
    assert cache.get("k", 0.0) is None
