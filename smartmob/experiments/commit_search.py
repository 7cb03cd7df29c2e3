"""The search for the commit that changed a test, with answers that are sometimes wrong. No I/O.

The first changed commit is unknown: each candidate is a hypothesis, and one more says that no commit has changed
anything. Under a hypothesis, a commit is expected to be changed if it is the hypothetical commit or one of its
descendants, as `git bisect` assumes for histories with merges. An answer that contradicts a hypothesis divides its
weight by `(1 - ERROR_RATE) / ERROR_RATE`, and the next question is the commit whose answer is most uncertain.

Sources: M. Horstein, *Sequential transmission using noiseless feedback*, IEEE Transactions on Information Theory 9
(1963), for the search by weights; E. Emamjomeh-Zadeh, D. Kempe and V. Singhal, *Deterministic and probabilistic binary
search in graphs*, STOC 2016, for histories that are not linear; A. Pelc, *Solution of Ulam's problem on searching with
a lie*, Journal of Combinatorial Theory A 44 (1987), for the lead: with one wrong answer at most, the true commit has at
most one contradiction, so no other can be ahead by `LEAD_COUNT`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

ERROR_RATE = 0.05
"""The assumed probability of a wrong answer; "the same" is decided by an interval of 95 %."""

CONFIDENCE = 0.99
"""The probability of a result at which the search ends."""

LEAD_COUNT = 2
"""The lead of a result over all others in contradictions; with it, one wrong answer cannot lead to a wrong result."""

_ODDS = ERROR_RATE / (1 - ERROR_RATE)  # the factor of a contradiction
_UNSURE_COUNT = 2  # answers "cannot be told" after which a commit is not asked again


@dataclass(slots=True)
class CommitSearch:
    """The state of a search. `parents` maps the candidates, parents before children, to their parents among them.

    The last candidate is the changed end; its change was measured, which is the first answer. Sets of candidates are
    the bits of an integer; bit `len(parents)` is the hypothesis that there is no changed commit.
    """

    parents: Mapping[str, Sequence[str]]
    commits: list[str] = field(init=False)
    skipped: set[str] = field(default_factory=set)
    answers: list[tuple[str, bool]] = field(default_factory=list)
    _indices: dict[str, int] = field(init=False)
    _ancestors: list[int] = field(init=False)
    _by_contradictions: list[int] = field(init=False)
    _unsure: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.commits = list(self.parents)
        self._indices = {commit: index for index, commit in enumerate(self.commits)}
        self._ancestors = []
        for index, commit in enumerate(self.commits):
            found = 1 << index
            for parent in self.parents[commit]:
                found |= self._ancestors[self._indices[parent]]
            self._ancestors.append(found)
        self._by_contradictions = [(1 << len(self.commits) + 1) - 1]
        self.add(self.commits[-1], changed=True)

    def add(self, commit: str, *, changed: bool) -> None:
        """Add an answer."""
        self.answers.append((commit, changed))
        ancestors = self._ancestors[self._indices[commit]]
        agreeing = ancestors if changed else ~ancestors
        before = self._by_contradictions
        after = [each & agreeing for each in before] + [0]
        for number, each in enumerate(before):
            after[number + 1] |= each & ~agreeing
        self._by_contradictions = after if after[-1] else after[:-1]

    def skip(self, commit: str) -> None:
        """Record that a commit cannot be measured; it may still be the changed one."""
        self.skipped.add(commit)

    def unsure(self, commit: str) -> None:
        """Record that a measurement gave no answer; after the second one the commit is skipped."""
        self._unsure[commit] = self._unsure.get(commit, 0) + 1
        if self._unsure[commit] >= _UNSURE_COUNT:
            self.skip(commit)

    def probability(self, candidates: int) -> float:
        """Return the probability that the changed commit is in a set; before any answer all are equally likely."""
        return self._weight(candidates) / self._weight(-1)

    def probabilities(self) -> dict[str, float]:
        """Return the probability of each commit."""
        total = self._weight(-1)
        return {commit: self._weight(1 << index) / total for index, commit in enumerate(self.commits)}

    def next(self) -> str | None:
        """Return the commit to measure next, or None when no answer could add anything."""
        best, nearest = None, 0.5
        total = self._weight(-1)
        for commit, ancestors in zip(self.commits, self._ancestors, strict=True):
            if commit in self.skipped:
                continue
            distance = abs(self._weight(ancestors) / total - 0.5)
            if distance < nearest:
                best, nearest = commit, distance
        return best

    def result(self) -> list[str] | None:
        """Return the commits that include the changed one, once that is sure enough; until then None.

        Several commits are returned only if those between them cannot be measured; an empty list means that nothing has
        changed.
        """
        first, leaders = next((number, each) for number, each in enumerate(self._by_contradictions) if each)
        group = self._group((leaders & -leaders).bit_length() - 1)
        others = sum(self._by_contradictions[first : first + LEAD_COUNT]) & ~group
        if others or self.probability(group) < CONFIDENCE:
            return None
        return self._names(group)

    def likely(self) -> list[str]:
        """Return the commits that together are the changed one with the probability `CONFIDENCE`, oldest first."""
        chosen = 0
        for each in self._by_contradictions:
            chosen |= each
            if self.probability(chosen) >= CONFIDENCE:
                break
        return self._names(chosen)

    def contradictions(self, commits: Sequence[str]) -> int:
        """Return how many answers contradict that a commit of a result is the changed one."""
        bit = 1 << (self._indices[commits[0]] if commits else len(self.commits))
        return next(number for number, each in enumerate(self._by_contradictions) if each & bit)

    def _group(self, index: int) -> int:
        """Return the candidates that no measurable commit distinguishes from this one."""
        group = (1 << len(self.commits) + 1) - 1
        for other, ancestors in enumerate(self._ancestors):
            if self.commits[other] not in self.skipped:
                group &= ancestors if ancestors >> index & 1 else ~ancestors
        return group

    def _weight(self, candidates: int) -> float:
        # Relative to the best one, so that no number of answers leads to 0.
        first = next(number for number, each in enumerate(self._by_contradictions) if each)
        found = self._by_contradictions[first:]
        return sum(((each & candidates).bit_count()) * _ODDS**number for number, each in enumerate(found))

    def _names(self, candidates: int) -> list[str]:
        return [commit for index, commit in enumerate(self.commits) if candidates >> index & 1]
