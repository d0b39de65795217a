"""Tasks and results of every shape, for tests of what goes over a wire."""

from __future__ import annotations

import math

from hypothesis import strategies as st

from passmuster.model.result import CaseResult, TestResult
from passmuster.model.status import Isolation, Outcome, RunnerKind, Status, StopReason
from passmuster.model.task import CoverageRequest, Limits, TestTask

words = st.text(max_size=20)
seconds = st.floats(min_value=0, allow_nan=False, allow_infinity=False)
counts = st.integers(min_value=0, max_value=2**63 - 1)
paths = st.lists(
    st.text(st.characters(exclude_characters="/\\\0", codec="utf-8"), min_size=1, max_size=8).filter(
        lambda part: part != ".."
    ),
    min_size=1,
    max_size=4,
).map("/".join)

tasks = st.builds(
    TestTask,
    run_id=words,
    file_path=paths,
    attempt=counts,
    runner=st.sampled_from(RunnerKind),
    limits=st.builds(
        Limits,
        timeout_s=seconds,
        grace_s=seconds,
        memory_bytes=st.none() | counts,
        output_bytes=counts,
    ),
    environment=st.lists(st.tuples(words, st.none() | words), max_size=3).map(tuple),
    predicted_s=st.none() | seconds,
    predicted_bytes=st.none() | counts,
    predicted_cpu_s=st.none() | seconds,
    exclusive=st.booleans(),
    coverage=st.none() | st.builds(CoverageRequest, source=st.lists(words, max_size=3).map(tuple)),
    group=words,
    retries=st.none() | counts,
    isolation=st.sampled_from(Isolation),
    source_identity=words,
    wanted_worker=words,
)

cases = st.builds(CaseResult, case_id=words, outcome=st.sampled_from(Outcome), seconds=seconds, message=words)

results = st.builds(
    TestResult,
    file_path=paths,
    status=st.sampled_from(Status),
    output=words,
    duration=seconds,
    error=words,
    attempt=counts,
    runner=st.sampled_from(RunnerKind),
    exit_code=st.none() | st.integers(-(2**31), 2**31),
    signal=st.none() | st.integers(1, 64),
    stop_reason=st.none() | st.sampled_from(StopReason),
    cases=st.lists(cases, max_size=3).map(tuple),
    peak_bytes=st.none() | counts,
    cpu_s=st.none() | seconds,
    started_at=seconds,
    worker=words,
    interpreter=words,
    slot=counts,
    start_delayed_by=words,
    leaked=st.lists(words, max_size=2).map(tuple),
    stacks=words,
    output_dropped_bytes=counts,
    coverage_files=st.lists(words, max_size=2).map(tuple),
    coverage_root=words,
    kept_tmp=words,
    isolation=st.sampled_from(Isolation),
    isolation_note=words,
    was_alone=st.booleans(),
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)

NOT_FINITE = (math.nan, math.inf, -math.inf)
