"""Random runs in which files are forked or spawned, alone or beside others, and end in every possible way."""

from __future__ import annotations

from hypothesis import strategies as st

from dispatcher.config.choices import Oversubscription
from dispatcher.config.model import TestConfig
from passmuster.model.status import Isolation, Status, StopReason
from tests.unit.dispatcher.engine.scripted_backend import Step

STEPS = st.builds(
    Step,
    status=st.sampled_from(list(Status)),
    seconds=st.floats(0, 30),
    stop_reason=st.none() | st.just(StopReason.MEMORY_BUDGET),
    isolation=st.sampled_from([Isolation.FORK, Isolation.SPAWN]),
    was_alone=st.booleans(),
)

SCRIPTS = st.dictionaries(st.sampled_from("abcde"), st.lists(STEPS, max_size=8), min_size=1)

CONFIGS = st.builds(
    TestConfig,
    retries=st.integers(0, 2),
    max_fail=st.none() | st.integers(1, 3),
    run_timeout_s=st.none() | st.floats(0.1, 60),
    verify_isolation=st.booleans(),
    oversubscription=st.sampled_from([None, Oversubscription.OFF]),
)
