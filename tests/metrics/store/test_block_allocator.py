"""Positions of metrics in the order of their arrival."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from smartmob.metrics.store.block_allocator import BlockAllocator, BlockNumbers, first_block

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


class TestBlockAllocator:
    """The allocation of positions in the order of arrival."""

    def test_numbers_in_a_block_are_consecutive(self) -> None:
        """Each metric of a block has the next number."""
        blocks = BlockAllocator(BlockNumbers())
        assert [blocks.take(3, NOW)[1], blocks.take(2, NOW)[1], blocks.take(1, NOW)[1]] == [0, 3, 5]

    def test_a_full_or_old_block_is_followed_by_a_later_one(self) -> None:
        """After a full, an old and a closed block, the number of the next block is higher."""
        blocks = BlockAllocator(BlockNumbers())
        numbers = [blocks.take(4096, NOW)[0], blocks.take(1, NOW)[0], blocks.take(1, NOW + timedelta(hours=1))[0]]
        blocks.close()
        numbers.append(blocks.take(1, NOW + timedelta(hours=1))[0])
        assert numbers == sorted(set(numbers))

    def test_a_clock_that_is_set_back_keeps_the_order(self) -> None:
        """The next block has a higher number even if the clock is set back."""
        blocks = BlockAllocator(BlockNumbers())
        later = blocks.take(4096, NOW)[0]
        assert blocks.take(1, NOW - timedelta(days=1))[0] > later

    def test_two_allocators_of_a_service_keep_the_order_within_a_millisecond(self) -> None:
        """Loads that follow each other within a millisecond are listed in their order."""
        numbers = BlockNumbers()
        blocks = [BlockAllocator(numbers).take(1, NOW)[0] for _ in range(20)]
        assert blocks == sorted(set(blocks))

    def test_the_number_of_a_block_contains_its_time(self) -> None:
        """Blocks that were opened before a moment have lower numbers than it."""
        block = BlockAllocator(BlockNumbers()).take(1, NOW)[0]
        assert first_block(NOW) <= block < first_block(NOW + timedelta(milliseconds=1))
