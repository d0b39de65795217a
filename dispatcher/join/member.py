"""A member of a joined run: compares itself with the run, works, leads if no machine does, and reports.

Loads redis: import this only for a run with --join.
"""

from __future__ import annotations

import contextlib
import platform
import re
import secrets
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

from msgspec import structs

from dispatcher.config.model import TestConfig
from dispatcher.config.settings import PRIVATE_VARIABLES
from dispatcher.engine.backend import Backend, WrappedBackend
from dispatcher.engine.signals import Interrupts, watch_interrupts
from dispatcher.join.broker_journal import BrokerJournal
from dispatcher.join.command_context import CommandContext
from dispatcher.join.election import MemberAction, find_identity, is_retry, next_action
from dispatcher.join.join_spec import check_join_spec, local_join_spec
from dispatcher.join.liveness import BrokerRetry, LeaderProgress, MemberHeartbeat
from dispatcher.join.local_worker import LocalWorker
from dispatcher.join.replay_record import replay_record
from dispatcher.join.round_result import fetch, publish, read_outcome
from dispatcher.merge.reader import find_records
from dispatcher.model.exit_codes import ExitCode
from dispatcher.model.results import TestResults
from dispatcher.queue.broker import broker_access
from dispatcher.queue.target import BrokerTarget, JoinedQueue, RunSource
from dispatcher.queue.worker_process import worker_arguments
from dispatcher.run.runner import TestRunner
from passmuster.model.errors import InfrastructureError, PassmusterError
from passmuster.model.task import TestTask
from passmuster.settings.values import on_one_line
from passmuster.wire.access import BROKER_OR_DATA_ERRORS, open_broker
from passmuster.wire.broker_keys import join_run_id
from passmuster.wire.envelope import Envelope
from passmuster.wire.join_messages import JoinCodec, NewRound, RoundOutcome
from passmuster.wire.join_store import JoinStore, LeaderLease, NotLeadingError

LOOK_S = 0.25
"""Seconds between two checks of the leader and of the round's state."""


class HandedOverError(PassmusterError):
    """This machine handed the run over to another member."""


class HandoverBackend(WrappedBackend):
    """Keeps another backend's files running when this machine hands the run over.

    Args:
        leaves: returns whether this machine hands the run over instead of ending it; releases the leader
            lease if so.
    """

    def __init__(self, inner: Backend, leaves: Callable[[], bool]) -> None:
        super().__init__(inner)
        self._leaves = leaves

    def withdraw(self) -> tuple[TestTask, ...]:
        """Remove tasks that have not started.

        Raises:
            HandedOverError: the run was handed over.
        """
        if self._leaves():
            raise HandedOverError("this machine has left the run")
        return self._inner.withdraw()

    def close(self) -> None:
        """Stop whatever still runs, unless another machine leads now."""
        with contextlib.suppress(NotLeadingError):
            self._inner.close()


def join(config: TestConfig, host: CommandContext) -> int | None:
    """Join the configured run; return the exit status.

    Returns:
        None: there is nothing to run.

    Raises:
        ConfigurationError: the broker or the secret is missing or invalid, or this machine's request differs
            from the run's.
        InfrastructureError: the broker cannot be used, or this machine's files or its version differ.
    """
    with watch_interrupts(ignored_afterwards=True) as interrupts, ExitStack() as undo:
        return _Member(config, host, interrupts, undo).run()


class _Member:
    def __init__(
        self, config: TestConfig, host: CommandContext, interrupts: Interrupts, undo: ExitStack
    ) -> None:
        self._config, self._host, self._interrupts, self._undo = config, host, interrupts, undo
        self._run = on_one_line(config.join or "")
        self._machine = find_identity(host.environ, host=platform.node())
        readable = re.sub(r"[^A-Za-z0-9-]", "-", platform.node().partition(".")[0])[:40] or "machine"
        self._name = f"{readable}-{secrets.token_hex(4)}"
        self._address, self._secret = broker_access(config, host.environ)
        self._client = undo.enter_context(closing(open_broker(self._address)))
        self._patience = BrokerRetry(lambda: interrupts.count > 0)
        self._seals = JoinCodec(Envelope(self._secret), config.join or "")
        self._has_led = False

    def run(self) -> int | None:
        scout = self._runner(BrokerTarget(self._host.environ, self._host.say))
        files = scout.discover_tests()
        own = local_join_spec(self._config, files, self._address, self._patience, machine=self._name)
        self._record = JoinStore(
            self._client,
            self._config.join or "",
            attempt=self._machine.attempt,
            spec=self._seals.encode_spec(own),
        )
        source = check_join_spec(self._record, self._seals, own, self._config, self._address, self._patience)
        if not files:
            return None
        for reporter in self._host.files():
            reporter.close()  # Created now to check that its file is writable: the run may take long.
        number, outcome = self._enter()
        if outcome is not None:
            return self._end(outcome)
        workforce = self._workforce(scout, number)
        self._undo.callback(self._part)
        self._undo.callback(workforce.close)
        workforce.start()
        self._pulse = MemberHeartbeat(self._record, self._name, workforce.restart_if_dead)
        self._undo.callback(self._pulse.close)
        self._pulse.start()
        self._host.say(f"{self._name} joined run {self._run}, round {number}")
        code = self._take_part(number, source)
        if code is not None:
            return code
        self._pulse.close()
        workforce.close()
        return self._end(read_outcome(self._record, self._seals, self._patience, number))

    def _enter(self) -> tuple[int, RoundOutcome | None]:
        """Return the round that this machine enters, and its result if it is complete."""
        has_begun = False
        while True:
            found = self._patience.call(lambda: self._record.enter(self._machine.identity))
            if not found.is_done:
                return found.number, None
            outcome = read_outcome(self._record, self._seals, self._patience, found.number)
            if has_begun or not is_retry(found, self._machine, status=outcome.status):
                return found.number, outcome
            entry = self._seals.encode_round(NewRound(number=found.number + 1, paths=outcome.failed_paths))
            has_begun = self._patience.call(
                lambda: self._record.start_round(found.number, self._machine.identity, entry)  # noqa: B023
            )
            if has_begun:
                count = len(outcome.failed_paths)
                self._host.say(
                    f"run {self._run} has failed before: round {found.number + 1} runs the {count} file(s) "
                    "again that did not pass"
                )

    def _workforce(self, scout: TestRunner, number: int) -> LocalWorker:
        words = worker_arguments(
            self._config, workdir=scout.selection.workdir, interpreter=scout.interpreter.path
        )
        words += ("--only-run-id", self._run_id(number))
        if self._config.max_workers is not None:
            words += ("--slots", str(self._config.max_workers))
        budget = self._config.memory_budget
        if budget is not None:
            words += ("--memory-budget", str(budget if budget.size_bytes is None else budget.size_bytes))
        environ = {k: v for k, v in self._host.environ.items() if k not in PRIVATE_VARIABLES}
        return LocalWorker(
            self._name,
            words,
            environ,
            url=self._address.url,
            secret=self._secret,
            complain=self._host.complain,
        )

    def _take_part(self, number: int, source: RunSource) -> int | None:
        """Work until the round is complete; return the exit status, None: that of the round."""
        progress = LeaderProgress(self._client, self._run, self._run_id(number), self._host.say)
        while not self._interrupts.count:
            look = self._patience.call(lambda: self._record.status(number))
            self._patience.note_missing_run(is_missing=look.number == 0)
            match next_action(look, number, may_judge=self._patience.can_judge_leader()):
                case MemberAction.LEAVE:
                    return None
                case MemberAction.GIVE_UP:
                    raise InfrastructureError(
                        f"round {number} of run {self._run} is over, and what it came to is gone: "
                        "give another name to --join"
                    )
                case MemberAction.ENTER:
                    self._patience.call(lambda: self._record.propose_spec())
                    self._patience.call(lambda: self._record.enter(self._machine.identity, number))
                case MemberAction.LEAD:
                    code = self._lead(number, source)
                    if code is not None:
                        return code
                case MemberAction.WAIT:
                    with contextlib.suppress(*BROKER_OR_DATA_ERRORS):
                        progress.report(look.leader if look.is_led else "")
            time.sleep(LOOK_S)
        return self._left()

    def _lead(self, number: int, source: RunSource) -> int | None:
        """Request the leader lease, and lead; return the exit status, None: another machine leads."""
        claim = LeaderLease(self._name, number)
        if not self._patience.call(lambda: self._record.claim(claim)):
            return None
        self._pulse.set_leader_lease(claim)
        self._host.say(f"{self._name} leads run {self._run}")
        self._has_led = True
        run_id = self._run_id(number)
        shared = BrokerJournal(self._record, self._seals, claim, self._patience, run_id=run_id)
        queue = JoinedQueue(
            run_id=run_id,
            source=source,
            guard=lambda client: self._record.guarded(client, claim),
            wrap=lambda backend: HandoverBackend(backend, lambda: self._leaves(claim)),
        )
        # Waiting for its own worker is not worth a line.
        runner = self._runner(BrokerTarget(self._host.environ, lambda _: None, queue), shared)
        try:
            with tempfile.TemporaryDirectory(prefix="pm-join-") as scratch:
                code = self._host.run(runner, structs.replace(self._config, record=Path(scratch)))
                return self._conclude(runner, claim, Path(scratch), code)
        except NotLeadingError:
            self._host.say(f"{self._name} was away for too long: another machine leads run {self._run} now")
            return None
        except HandedOverError:
            return self._left()
        finally:
            self._pulse.set_leader_lease(None)
            with contextlib.suppress(*BROKER_OR_DATA_ERRORS):  # The lease expires by itself.
                self._record.give_up(claim)

    def _conclude(self, runner: TestRunner, claim: LeaderLease, scratch: Path, code: int) -> int:
        """Publish the result of a run that this machine led; return its exit status here."""
        results = runner.results
        if runner.breakdown or results is None:
            return code
        if results.interrupted:
            self._host.say(f"To go on with run {self._run}, give the same command again")
            return code
        # Status 3 without a breakdown: only a report of this machine is lost.
        status = ExitCode.OK if code == ExitCode.INFRASTRUCTURE else code
        publish(
            self._record,
            self._seals,
            claim,
            self._patience,
            find_records(scratch)[0],
            status=status,
            again=_not_passed(results),
        )
        return code

    def _leaves(self, claim: LeaderLease) -> bool:
        """Whether the run continues without this machine, which was asked to end."""
        if not self._interrupts.count:
            return False
        with contextlib.suppress(*BROKER_OR_DATA_ERRORS):  # Else the lease expires by itself.
            if self._record.heartbeat(self._name) == 0:
                return False
            self._record.give_up(claim)
        return True

    def _left(self) -> int:
        self._host.say(
            f"{self._name} left run {self._run}: it continues on other machines, or with the same command"
        )
        return ExitCode.INTERRUPTED

    def _part(self) -> None:
        with contextlib.suppress(*BROKER_OR_DATA_ERRORS):
            self._record.leave(self._name)

    def _end(self, outcome: RoundOutcome) -> int:
        """Write this machine's reports of a complete round; return the exit status."""
        self._host.say(
            f"run {self._run} is complete (round {outcome.number}, led by {on_one_line(outcome.leader)}); "
            "what follows is its report"
        )
        with tempfile.TemporaryDirectory(prefix="pm-join-") as scratch:
            fetch(self._record, self._seals, self._patience, outcome, Path(scratch))
            return replay_record(
                Path(scratch),
                self._config,
                self._host,
                status=outcome.status,
                remembers=not self._has_led,
            )

    def _runner(self, target: BrokerTarget, joined: BrokerJournal | None = None) -> TestRunner:
        host = self._host
        return TestRunner(
            self._config,
            target=target,
            environ=host.environ,
            cwd=host.cwd,
            origins=host.origins,
            joined=joined,
        )

    def _run_id(self, number: int) -> str:
        return join_run_id(self._config.join or "", number)


def _not_passed(results: TestResults) -> tuple[str, ...]:
    """Return the files that a retry of a run executes."""
    paths = [record.file.path for record in results.records if not record.status.is_pass]
    paths += [difference.file.path for difference in results.differing]
    return tuple(dict.fromkeys(paths))
