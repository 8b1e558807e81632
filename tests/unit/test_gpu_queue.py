"""Post-processing: the queue on a card made of NumPy, and on a real one where there is one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.exchanges import exchange
from tests.unit.gpus import NO_CARD, needs_card, needs_none

from mls.config.sections.run import Run
from mls.core.errors import UserError
from mls.gpu.device import CardError, PostResult, card_of, cupy
from mls.gpu.kernel import reference
from mls.gpu.queue import PostQueue, open_queue
from mls.load.mpi.roles import Role
from mls.load.postprocess import Posting, local_number

WORK = 64


class HostCard:
    """A card whose work the host does; a piece is ready after `slow` calls of `done`."""

    index = 0
    name = "host"

    def __init__(self, slots: int = 2, slot_bytes: int = 7, slow: int = 0) -> None:
        self.slots = slots
        self.slot_bytes = slot_bytes
        self.slow = slow
        self.error = 0
        self.breaks = False
        self.closed = False
        self.busy: dict[int, tuple[int, int]] = {}

    def start(self, slot: int, data: memoryview, first: int) -> None:
        if self.breaks:
            raise CardError("an illegal memory access was encountered")
        assert slot not in self.busy and 0 < len(data) <= self.slot_bytes
        self.busy[slot] = (reference(bytes(data), WORK, first) + self.error, self.slow)

    def is_complete(self, slot: int) -> bool:
        checksum, looks = self.busy[slot]
        self.busy[slot] = (checksum, looks - 1)
        return looks <= 0

    def result(self, slot: int) -> PostResult:
        return PostResult(self.busy.pop(slot)[0], 1.0, 0.25, 0.5)

    def close(self) -> None:
        self.closed = True


@given(
    replies=st.lists(st.lists(st.binary(max_size=150), max_size=4), max_size=12),
    slots=st.integers(1, 4),
    slot_bytes=st.integers(60, 300),
    slow=st.integers(0, 3),
)
def test_every_reply_comes_out_with_the_checksum_of_all_its_bytes(replies, slots, slot_bytes, slow):
    queue = PostQueue(HostCard(slots, slot_bytes, slow), WORK)
    for job, pieces in enumerate(replies):
        queue.submit(job, pieces)
    queue.drain()
    whole = {job: b"".join(pieces) for job, pieces in enumerate(replies)}
    assert {job: result.checksum for job, result in queue.results.items()} == {
        job: reference(data, WORK) for job, data in whole.items() if data
    }
    assert queue.wrong_job() is None


def test_times_of_pieces_add_up():
    queue = PostQueue(HostCard(slot_bytes=7), WORK)
    queue.submit(3, [b"x" * 15])
    queue.drain()
    result = queue.results[3]
    assert (result.total_ms, result.copy_ms, result.kernel_ms) == (3.0, 0.75, 1.5)


def test_handing_in_never_waits():
    card = HostCard(slots=1)
    queue = PostQueue(card, WORK)
    card.slow = 10**9
    for job in range(50):
        queue.submit(job, [b"reply"])
    assert not queue.results


def test_a_card_that_computes_wrongly_is_found_before_anything_is_measured():
    card = HostCard()
    card.error = 1
    with pytest.raises(UserError, match="computes wrongly"):
        PostQueue(card, WORK)


def test_a_card_that_computes_wrongly_later_is_found_by_the_first_reply():
    card = HostCard()
    queue = PostQueue(card, WORK)
    card.error = 1
    queue.submit(8, [b"reply"])
    queue.drain()
    assert queue.wrong_job() == 8


def test_a_lost_card_ends_the_work_but_not_the_load():
    card = HostCard()
    queue = PostQueue(card, WORK)
    card.breaks = True
    queue.submit(1, [b"reply"])
    queue.submit(2, [b"reply"])
    queue.drain()
    assert not queue.results and "illegal memory access" in queue.failure


def test_what_was_processed_while_warming_up_is_forgotten():
    queue = PostQueue(HostCard(), WORK)
    queue.submit(-1, [b"warm-up"])
    queue.forget()
    queue.submit(0, [b"reply"])
    queue.drain()
    assert list(queue.results) == [0]


@needs_none
def test_auto_says_why_there_is_no_card():
    queue, facts = open_queue("auto", work=WORK, memory_mib=1, local_rank=0)
    assert queue is None
    assert facts == {"card": None, "name": None, "reason": NO_CARD}
    assert "no CUDA driver" in NO_CARD or "not installed" in NO_CARD or "CUDA lists" in NO_CARD


@needs_none
def test_on_without_a_card_is_an_error():
    with pytest.raises(UserError, match=r"run\.cuda_post: on, but there is no usable card"):
        open_queue("on", work=WORK, memory_mib=1, local_rank=0)


def test_off_asks_for_no_card():
    assert open_queue("off", work=WORK, memory_mib=1, local_rank=0)[1]["reason"] is None


@needs_none
def test_a_run_goes_on_without_a_card():
    posting = Posting(Run(cuda_post="auto"), 0)
    reply = exchange(b"reply")
    posting.begin()
    posting.submit(reply)
    posting.poll()
    results, facts = posting.conclude()
    (verdict,) = posting.verify([reply])
    assert not results and facts["reason"] == NO_CARD and verdict.error is None


def test_workers_of_a_host_go_round_its_cards():
    two_hosts = ["a", "a", "a", "b", "b"]
    apart = Role(worker=0, workers=4, host_ids=two_hosts)
    assert [local_number(rank, apart) for rank in range(1, 5)] == [0, 1, 0, 1]
    works = Role(worker=0, workers=5, host_ids=two_hosts)
    assert [local_number(rank, works) for rank in range(5)] == [0, 1, 2, 0, 1]
    assert [card_of(local, 2) for local in range(4)] == [0, 1, 0, 1]


@needs_card
def test_a_real_card_gives_the_references_checksums():
    queue, facts = open_queue("on", work=4096, memory_mib=1, local_rank=0)
    assert queue is not None and facts["name"]
    replies = {job: bytes([job % 256]) * (job * 977 + 1) for job in range(300)}
    for job, data in replies.items():
        queue.submit(job, [data])
    queue.drain()
    assert queue.failure is None
    for job, data in replies.items():
        result = queue.results[job]
        assert result.checksum == reference(data, 4096)
        assert result.total_ms >= result.copy_ms + result.kernel_ms > 0
    queue.close()
    assert cupy().get_default_memory_pool().total_bytes() == 0


@needs_card
def test_a_card_has_the_number_that_telemetry_knows_it_by():
    import pynvml

    queue, facts = open_queue("on", work=WORK, memory_mib=1, local_rank=0)
    queue.close()
    pynvml.nvmlInit()
    handle = pynvml.nvmlDeviceGetHandleByIndex(facts["card"])
    on_host = str(pynvml.nvmlDeviceGetPciInfo(handle).busId)  # bytes or text, by its version
    assert cupy().cuda.Device(0).pci_bus_id.lower() in on_host.lower()
