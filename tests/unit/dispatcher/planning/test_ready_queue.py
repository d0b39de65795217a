"""The waiting line of one machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.planning.ready_queue import MAX_OVERTAKES, MAX_STARTS_BEFORE_EXCLUSIVE, ReadyQueue
from passmuster.model.executor import FreeCapacity
from passmuster.model.task import TestTask


def _task(name: str, need_bytes: int | None = 1, *, exclusive: bool = False) -> TestTask:
    return TestTask(run_id="r", file_path=name, predicted_bytes=need_bytes, exclusive=exclusive)


def _room(
    free_bytes: int = 100, *, slots: int = 1, unknown_bytes: int = 10, is_idle: bool = False
) -> FreeCapacity:
    return FreeCapacity(
        slots=slots, free_bytes=free_bytes, unknown_bytes=unknown_bytes, running=0 if is_idle else 1
    )


def _name(task: TestTask | None) -> str | None:
    return None if task is None else task.file_path


def _names(tasks: Sequence[TestTask]) -> list[str]:
    return [task.file_path for task in tasks]


def test_the_first_that_fits_goes() -> None:
    line = ReadyQueue([_task("big", 50), _task("unknown", None), _task("small", 5)])
    assert _name(line.pop_first_fit(_room(free_bytes=9))) == "small"
    assert _name(line.pop_first_fit(_room(free_bytes=10))) == "unknown"
    assert line.pop_first_fit(_room(free_bytes=49)) is None
    assert _name(line.pop_first_fit(_room(free_bytes=50))) == "big"
    assert line.pop_first_fit(_room()) is None


def test_nothing_goes_without_a_slot() -> None:
    assert ReadyQueue([_task("a")]).pop_first_fit(_room(slots=0, is_idle=True)) is None


def test_on_an_idle_machine_the_first_goes_whatever_it_needs() -> None:
    line = ReadyQueue([_task("huge", 10**15), _task("small")])
    assert _name(line.pop_first_fit(_room(is_idle=True))) == "huge"


def test_where_other_runs_hold_memory_the_first_that_fits_goes_and_else_the_first() -> None:
    line = ReadyQueue([_task("huge", 50), _task("small", 5), _task("large", 40)])
    room = FreeCapacity(slots=1, free_bytes=10, unknown_bytes=10, running=0, must_fit=True)
    assert _name(line.pop_first_fit(room)) == "small"
    assert _name(line.pop_first_fit(room)) == "huge"


def test_a_file_passed_too_often_is_asked_for_although_other_runs_hold_what_it_needs() -> None:
    line = ReadyQueue([_task("huge", 50), *(_task(f"small{number}") for number in range(MAX_OVERTAKES + 5))])
    room = FreeCapacity(slots=1, free_bytes=10, unknown_bytes=10, running=0, must_fit=True)
    for number in range(MAX_OVERTAKES):
        assert _go_and_end(line, room) == f"small{number}"
    assert _go_and_end(line, room) == "huge"


def _go_and_end(line: ReadyQueue, room: FreeCapacity) -> str | None:
    """Let the next file start, and end at once."""
    task = line.pop_first_fit(room)
    if task is not None:
        line.release_group(task)
    return _name(task)


def test_a_file_passed_too_often_is_passed_no_more_until_it_fits() -> None:
    line = ReadyQueue([_task("big", 90), *(_task(f"small{number}") for number in range(MAX_OVERTAKES + 5))])
    for number in range(MAX_OVERTAKES):
        assert _go_and_end(line, _room(free_bytes=50)) == f"small{number}"
    assert line.pop_first_fit(_room(free_bytes=50)) is None
    assert line.pop_first_fit(_room(free_bytes=89)) is None
    assert _go_and_end(line, _room(free_bytes=90)) == "big"
    assert _go_and_end(line, _room(free_bytes=50)) == f"small{MAX_OVERTAKES}"


def test_where_many_run_at_once_a_file_is_passed_by_more() -> None:
    line = ReadyQueue([*(_task(f"first{number}", 1) for number in range(MAX_OVERTAKES)), _task("big", 90)])
    line.push([_task(f"small{number}") for number in range(3 * MAX_OVERTAKES)])
    running = [line.pop_first_fit(_room()) for _ in range(MAX_OVERTAKES)]
    for task in running:
        assert task is not None
        line.release_group(task)
    for number in range(2 * MAX_OVERTAKES):
        assert _go_and_end(line, _room(free_bytes=50)) == f"small{number}"
    assert line.pop_first_fit(_room(free_bytes=50)) is None


def test_files_put_first_go_first_in_their_own_order() -> None:
    line = ReadyQueue([_task("c")])
    line.push_front([_task("a"), _task("b")])
    line.push([_task("d")])
    assert [_name(line.pop_first_fit(_room())) for _ in range(5)] == ["a", "b", "c", "d", None]


def test_withdrawing_empties_the_line_and_keeps_the_order() -> None:
    line = ReadyQueue([_task("b", 5), _task("x", exclusive=True), _task("c", None)])
    line.push_front([_task("a", None)])
    assert len(line) == 4
    assert _names(line.withdraw()) == ["a", "b", "c", "x"]
    assert len(line) == 0
    assert line.pop_first_fit(_room(is_idle=True)) is None
    line.push([_task("later")])
    assert _name(line.pop_first_fit(_room())) == "later"


def test_an_exclusive_file_waits_for_the_others_and_for_an_idle_machine() -> None:
    line = ReadyQueue([_task("alone", exclusive=True), _task("a")])
    assert _name(line.pop_first_fit(_room(is_idle=True))) == "a"
    assert line.pop_first_fit(_room(is_idle=False)) is None
    assert _name(line.pop_first_fit(_room(is_idle=True))) == "alone"


def test_a_file_to_run_alone_is_not_kept_waiting_for_ever() -> None:
    line = ReadyQueue([_task("alone", exclusive=True)])
    for number in range(MAX_STARTS_BEFORE_EXCLUSIVE):
        line.push([_task(f"file{number}"), _task(f"more{number}")])
        assert line.pop_first_fit(_room()) is not None
    assert line.pop_first_fit(_room()) is None
    assert _name(line.pop_first_fit(_room(is_idle=True))) == "alone"
    assert line.pop_first_fit(_room()) is not None


def _grouped(name: str, group: str = "db", need_bytes: int | None = 1) -> TestTask:
    return TestTask(run_id="r", file_path=name, predicted_bytes=need_bytes, group=group)


def test_a_file_whose_group_is_full_is_passed_over_until_one_of_the_group_ends() -> None:
    line = ReadyQueue([_grouped("a"), _grouped("b"), _task("c"), _grouped("d")], groups={"db": 1})
    first = line.pop_first_fit(_room())
    assert first is not None
    assert _name(first) == "a"
    assert _name(line.pop_first_fit(_room())) == "c"
    assert line.pop_first_fit(_room()) is None
    assert line.is_held_by_groups
    line.release_group(first)
    assert _name(line.pop_first_fit(_room())) == "b"
    assert not line.is_held_by_groups


def test_a_group_without_a_limit_is_none() -> None:
    line = ReadyQueue([_grouped("a", "other"), _grouped("b", "other")], groups={"db": 1})
    assert [_name(line.pop_first_fit(_room())) for _ in range(2)] == ["a", "b"]


def test_a_file_that_waits_for_its_group_makes_no_reservation() -> None:
    smalls = [_task(f"small{number}") for number in range(2 * MAX_OVERTAKES)]
    line = ReadyQueue([_grouped("a"), _grouped("b", need_bytes=90), *smalls], groups={"db": 1})
    assert _name(line.pop_first_fit(_room())) == "a"
    for small in smalls:
        assert _go_and_end(line, _room(free_bytes=50)) == small.file_path


def test_a_task_that_could_not_start_gives_its_place_in_the_group_back() -> None:
    line = ReadyQueue([_grouped("a"), _grouped("b")], groups={"db": 1})
    task = line.pop_first_fit(_room())
    assert task is not None
    line.requeue(task)
    assert _names(line.withdraw()) == ["a", "b"]
    line.push([_grouped("c")])
    assert _name(line.pop_first_fit(_room())) == "c"


def test_a_place_for_files_that_wait_is_given_to_no_other() -> None:
    room = FreeCapacity(slots=0, io_bound_slots=1, free_bytes=100, unknown_bytes=10, running=1)
    waits = TestTask(run_id="r", file_path="w", predicted_bytes=1, predicted_s=9.0, predicted_cpu_s=1.0)
    works = TestTask(run_id="r", file_path="x", predicted_bytes=1, predicted_s=9.0, predicted_cpu_s=8.0)
    assert ReadyQueue([works]).pop_first_fit(room) is None
    assert ReadyQueue([waits]).pop_first_fit(room) is waits


class _NaiveLine:
    """The same rules, by walking through a list: slow, and easy to believe."""

    def __init__(self) -> None:
        self.tasks: list[TestTask] = []
        self.passed: Counter[str] = Counter()
        self.running: Counter[str] = Counter()
        self.most = 0

    def pop_first_fit(self, room: FreeCapacity) -> TestTask | None:
        if not self.tasks or room.slots <= 0:
            return None
        may_go = [task for task in self.tasks if self.running[task.group] < GROUPS.get(task.group, 10**9)]
        fitting = [task for task in may_go if _need(task, room) <= room.free_bytes]
        chosen = next(iter(may_go if room.is_idle else fitting), None)
        if chosen is None:
            return None
        if chosen is not may_go[0]:
            if self.passed[may_go[0].file_path] >= max(MAX_OVERTAKES, 2 * self.most):
                return None
            self.passed[may_go[0].file_path] += 1
        self.tasks = [task for task in self.tasks if task is not chosen]
        self.running[chosen.group] += 1
        self.most = max(self.most, self.running.total())
        return chosen


def _need(task: TestTask, room: FreeCapacity) -> int:
    return room.unknown_bytes if task.predicted_bytes is None else task.predicted_bytes


_needs = st.lists(st.one_of(st.none(), st.integers(0, 20)), max_size=8)
_rooms = st.builds(
    FreeCapacity,
    slots=st.integers(0, 2),
    free_bytes=st.integers(0, 20),
    unknown_bytes=st.integers(1, 20),
    running=st.sampled_from([1, 1, 1, 1, 0]),
)
GROUPS = {"db": 1, "net": 2}

_steps = st.lists(
    st.one_of(
        st.tuples(st.just("end"), st.sampled_from(["", "db", "net"])),
        st.tuples(st.just("append"), _needs),
        st.tuples(st.just("prepend"), _needs),
        st.tuples(st.just("go"), _rooms),
    ),
    max_size=80,
)


@settings(max_examples=200)
@given(first=st.lists(st.one_of(st.none(), st.integers(0, 20)), max_size=60), steps=_steps)
def test_it_chooses_what_a_walk_through_all_tasks_would_choose(
    first: list[int | None], steps: list[tuple[str, list[int | None] | FreeCapacity | str]]
) -> None:
    line, model = ReadyQueue(groups=GROUPS), _NaiveLine()
    counter = 0
    for kind, what in [("append", first), *steps]:
        if isinstance(what, FreeCapacity):
            assert line.pop_first_fit(what) is model.pop_first_fit(what)
        elif isinstance(what, str):
            if model.running[what]:
                model.running[what] -= 1
                line.release_group(_grouped("", what))
        else:
            tasks = [
                _grouped(str(counter + offset), ("", "", "db", "net")[(counter + offset) % 4], need)
                for offset, need in enumerate(what)
            ]
            counter += len(tasks)
            if kind == "append":
                line.push(tasks)
                model.tasks.extend(tasks)
            else:
                line.push_front(tasks)
                model.tasks[:0] = tasks
        assert len(line) == len(model.tasks)
    assert list(line.withdraw()) == model.tasks


@settings(max_examples=50)
@given(needs=st.lists(st.integers(1, 30), min_size=1, max_size=60), slots=st.integers(1, 4))
def test_every_file_gets_its_turn_when_files_end_in_the_order_they_started(
    needs: list[int], slots: int
) -> None:
    line = ReadyQueue([_task(str(number), need) for number, need in enumerate(needs)])
    running: list[TestTask] = []
    started: list[str] = []
    for _ in range(3 * len(needs) + 1):
        used_bytes = sum(task.predicted_bytes or 0 for task in running)
        room = _room(max(0, 20 - used_bytes), slots=slots - len(running), is_idle=not running)
        task = line.pop_first_fit(room)
        if task is not None:
            started.append(task.file_path)
            running.append(task)
        elif running:
            running.pop(0)
    assert sorted(started, key=int) == [str(number) for number in range(len(needs))]


@settings(max_examples=100)
@given(
    files=st.lists(
        st.tuples(st.integers(1, 9), st.one_of(st.none(), st.integers(1, 20)), st.sampled_from(["", "db"])),
        max_size=MAX_OVERTAKES,
    ),
    reruns=st.sets(st.integers(0, MAX_OVERTAKES), max_size=3),
    slots=st.integers(1, 4),
)
def test_no_slot_is_idle_while_a_file_fits_that_may_start(
    files: list[tuple[int, int | None, str]], reruns: set[int], slots: int
) -> None:
    seconds = {str(number): file_s for number, (file_s, _, _) in enumerate(files)}
    waiting = {
        str(number): _grouped(str(number), group, need) for number, (_, need, group) in enumerate(files)
    }
    line, running, now_s = ReadyQueue(list(waiting.values()), groups=GROUPS), list[tuple[int, TestTask]](), 0
    while waiting or running:
        used_bytes = sum(task.predicted_bytes or 10 for _, task in running)
        room = _room(max(0, 20 - used_bytes), slots=slots - len(running), is_idle=not running)
        task = line.pop_first_fit(room)
        if task is not None:
            del waiting[task.file_path]
            running.append((now_s + seconds[task.file_path], task))
            continue
        is_db_full = any(task.group == "db" for _, task in running)
        may_start = [task for task in waiting.values() if not (is_db_full and task.group == "db")]
        assert room.slots == 0 or all(_need(task, room) > room.free_bytes for task in may_start)
        now_s, ended = min(running, key=lambda one: one[0])
        running.remove((now_s, ended))
        line.release_group(ended)
        if int(ended.file_path) in reruns:
            reruns = reruns - {int(ended.file_path)}
            waiting[ended.file_path] = ended
            line.push_front([ended])


def test_a_hundred_thousand_waiting_files_that_do_not_fit_cost_few_steps() -> None:
    line = ReadyQueue([_task(str(number), 1000 + number) for number in range(100_000)])
    line.push([_task("fits", 5)])
    for _ in range(10_000):
        # With a walk through the line this loop would take an hour, and the time limit of the test ends it.
        assert line.pop_first_fit(_room(free_bytes=4)) is None
    assert _name(line.pop_first_fit(_room(free_bytes=5))) == "fits"
