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
from dispatcher.config.settings import OWN_VARIABLES
from dispatcher.engine.backend import Backend, WrappedBackend
from dispatcher.engine.signals import Interrupts, watch_interrupts
from dispatcher.join.broker_journal import BrokerJournal
from dispatcher.join.command_context import CommandContext
from dispatcher.join.election import MemberAction, find_identity, is_retry, next_action
from dispatcher.join.join_spec import check_join_spec, local_join_spec
from dispatcher.join.liveness import BrokerRetry, JoinedRun, LeaderProgress, MemberHeartbeat
from dispatcher.join.local_worker import LocalWorker
from dispatcher.join.replay_record import replay_record
from dispatcher.join.round_result import expired_error, fetch, publish, read_outcome
from dispatcher.merge.reader import find_records
from dispatcher.model.exit_codes import ExitCode
from dispatcher.model.results import TestResults
from dispatcher.queue.broker import broker_access
from dispatcher.queue.target import BrokerTarget, JoinedQueue, RunSource
from dispatcher.queue.worker_process import WorkerProcess, worker_arguments
from dispatcher.run.runner import TestRunner
from passmuster.model.errors import PassmusterError
from passmuster.model.task import TestTask
from passmuster.settings.values import on_one_line
from passmuster.wire.access import BROKER_OR_DATA_ERRORS, open_broker
from passmuster.wire.broker_keys import join_run_id
from passmuster.wire.envelope import Envelope
from passmuster.wire.join_messages import JoinCodec, NewRound, RoundOutcome
from passmuster.wire.join_store import JoinStore, LeaderLease, NotLeadingError

POLL_S = 0.25
"""Seconds between two checks of the leader and of the round's state."""


class HandedOverError(PassmusterError):
    """This machine handed the run over to another member."""


class HandoverBackend(WrappedBackend):
    """Keeps another backend's files running when this machine hands the run over.

    Args:
        hands_over: returns whether this machine hands the run over instead of ending it; releases the leader
            lease if so.
    """

    def __init__(self, inner: Backend, hands_over: Callable[[], bool]) -> None:
        super().__init__(inner)
        self._hands_over = hands_over

    def withdraw(self) -> tuple[TestTask, ...]:
        """Remove tasks that have not started.

        Raises:
            HandedOverError: the run was handed over.
        """
        if self._hands_over():
            raise HandedOverError("this machine has left the run")
        return self._inner.withdraw()

    def close(self) -> None:
        """Stop whatever still runs, unless another machine leads now."""
        with contextlib.suppress(NotLeadingError):
            self._inner.close()


def join(config: TestConfig, context: CommandContext) -> int | None:
    """Join the configured run; return the exit status.

    Returns:
        None: there is nothing to run.

    Raises:
        ConfigurationError: the broker or the secret is missing or invalid, or this machine's request differs
            from the run's.
        InfrastructureError: the broker cannot be used, or this machine's files or its version differ.
    """
    with watch_interrupts(ignored_afterwards=True) as interrupts, ExitStack() as undo:
        return _Member(config, context, interrupts, undo).run()


class _Member:
    def __init__(
        self, config: TestConfig, context: CommandContext, interrupts: Interrupts, undo: ExitStack
    ) -> None:
        self._config, self._context, self._interrupts, self._undo = config, context, interrupts, undo
        self._run_name = on_one_line(config.join or "")
        self._identity = find_identity(context.environ, host=platform.node())
        readable = re.sub(r"[^A-Za-z0-9-]", "-", platform.node().partition(".")[0])[:40] or "machine"
        self._name = f"{readable}-{secrets.token_hex(4)}"
        self._address, self._secret = broker_access(config, context.environ)
        self._client = undo.enter_context(closing(open_broker(self._address)))
        self._retry = BrokerRetry(lambda: interrupts.count > 0)
        self._has_led = False

    def run(self) -> int | None:
        scout = self._runner(BrokerTarget(self._context.environ, self._context.say))
        files = scout.discover_tests()
        own = local_join_spec(self._config, files, self._address, self._retry, machine=self._name)
        name = self._config.join or ""
        codec = JoinCodec(Envelope(self._secret), name)
        self._store = JoinStore(
            self._client, name, attempt=self._identity.attempt, spec=codec.encode_spec(own)
        )
        self._run = JoinedRun(self._store, codec, self._retry)
        source = check_join_spec(self._run, own, self._config, self._address)
        if not files:
            return None
        for reporter in self._context.files():
            reporter.close()  # Created now to check that its file is writable: the run may take long.
        number, outcome = self._enter()
        if outcome is not None:
            return self._report(outcome)
        worker = self._local_worker(scout, number)
        self._undo.callback(self._leave)
        self._undo.callback(worker.close)
        worker.start()
        self._heartbeat = MemberHeartbeat(self._store, self._name, worker.restart_if_dead)
        self._undo.callback(self._heartbeat.close)
        self._heartbeat.start()
        self._context.say(f"{self._name} joined run {self._run_name}, round {number}")
        code = self._take_part(number, source)
        if code is not None:
            return code
        self._heartbeat.close()
        worker.close()
        return self._report(read_outcome(self._run, number))

    def _enter(self) -> tuple[int, RoundOutcome | None]:
        """Return the round that this machine enters, and its result if it is complete."""
        identity, has_started = self._identity.identity, False
        while True:
            found = self._retry.call(self._store.enter, identity)
            if not found.is_done:
                return found.number, None
            outcome = read_outcome(self._run, found.number)
            if has_started or not is_retry(found, self._identity, status=outcome.status):
                return found.number, outcome
            following = NewRound(number=found.number + 1, paths=outcome.failed_paths)
            entry = self._run.codec.encode_round(following)
            has_started = self._retry.call(self._store.start_round, found.number, identity, entry)
            if has_started:
                self._context.say(
                    f"run {self._run_name} failed: round {following.number} reruns the "
                    f"{len(following.paths)} file(s) that did not pass"
                )

    def _local_worker(self, scout: TestRunner, number: int) -> LocalWorker:
        config = self._config
        arguments = worker_arguments(
            config, workdir=scout.selection.workdir, interpreter=scout.interpreter.path
        )
        arguments += ("--only-run-id", self._run_id(number))
        if config.max_workers is not None:
            arguments += ("--slots", str(config.max_workers))
        if (budget := config.memory_budget) is not None:
            size = str(budget if budget.size_bytes is None else budget.size_bytes)
            arguments += ("--memory-budget", size)
        environ = {k: v for k, v in self._context.environ.items() if k not in OWN_VARIABLES}

        def start(name: str, log: Path) -> WorkerProcess:
            url, secret = self._address.url, self._secret
            return WorkerProcess(name, arguments, log, environ, url=url, secret=secret)

        return LocalWorker(self._name, start, self._context.complain)

    def _take_part(self, number: int, source: RunSource) -> int | None:
        """Work until the round is complete; return the exit status, None: that of the round."""
        progress = LeaderProgress(self._client, self._run_name, self._run_id(number), self._context.say)
        while not self._interrupts.count:
            status = self._retry.call(self._store.status, number)
            self._retry.note_missing_run(is_missing=status.number == 0)
            match next_action(status, number, can_judge_leader=self._retry.can_judge_leader()):
                case MemberAction.LEAVE:
                    return None
                case MemberAction.GIVE_UP:
                    raise expired_error(number)
                case MemberAction.ENTER:
                    self._retry.call(self._store.propose_spec)
                    self._retry.call(self._store.enter, self._identity.identity, number)
                case MemberAction.LEAD:
                    code = self._lead(number, source)
                    if code is not None:
                        return code
                case MemberAction.WAIT:
                    with contextlib.suppress(*BROKER_OR_DATA_ERRORS):
                        progress.report(status.leader if status.is_led else "")
            time.sleep(POLL_S)
        return self._interrupted()

    def _lead(self, number: int, source: RunSource) -> int | None:
        """Request the leader lease, and lead; return the exit status, None: another machine leads."""
        lease = LeaderLease(self._name, number)
        if not self._retry.call(self._store.claim, lease):
            return None
        self._heartbeat.set_leader_lease(lease)
        self._context.say(f"{self._name} leads run {self._run_name}")
        self._has_led = True
        run_id = self._run_id(number)
        queue = JoinedQueue(
            run_id=run_id,
            source=source,
            guard=lambda client: self._store.transaction(client, lease),
            wrap=lambda backend: HandoverBackend(backend, lambda: self._hands_over(lease)),
        )
        # Waiting for its own worker is not worth a line.
        target = BrokerTarget(self._context.environ, lambda _: None, queue)
        runner = self._runner(target, BrokerJournal(self._run, lease, run_id=run_id))
        try:
            with tempfile.TemporaryDirectory(prefix="pm-join-") as scratch:
                code = self._context.run(runner, structs.replace(self._config, record=Path(scratch)))
                self._publish(runner, lease, Path(scratch), code)
                return code
        except NotLeadingError:
            self._context.say(
                f"{self._name} lost the leader lease: another machine leads run {self._run_name} now"
            )
            return None
        except HandedOverError:
            return self._interrupted()
        finally:
            self._heartbeat.set_leader_lease(None)
            with contextlib.suppress(*BROKER_OR_DATA_ERRORS):  # The lease expires by itself.
                self._store.give_up(lease)

    def _publish(self, runner: TestRunner, lease: LeaderLease, scratch: Path, code: int) -> None:
        """Publish the result of a run that this machine led and that ended with this exit status here."""
        results = runner.results
        if runner.breakdown or results is None:
            return
        if results.interrupted:
            self._context.say(f"To resume run {self._run_name}, give the same command again")
            return
        # Status 3 without a breakdown: only a report of this machine is lost.
        status = ExitCode.OK if code == ExitCode.INFRASTRUCTURE else code
        record = find_records(scratch)[0]
        publish(self._run, lease, record, status=status, failed_paths=_failed_paths(results))

    def _hands_over(self, lease: LeaderLease) -> bool:
        """Whether the run continues without this machine, which was asked to end."""
        if not self._interrupts.count:
            return False
        with contextlib.suppress(*BROKER_OR_DATA_ERRORS):  # Else the lease expires by itself.
            if self._store.heartbeat(self._name) == 0:
                return False
            self._store.give_up(lease)
        return True

    def _interrupted(self) -> int:
        self._context.say(
            f"{self._name} left run {self._run_name}: it continues on other machines that joined it, or with "
            "the same command"
        )
        return ExitCode.INTERRUPTED

    def _leave(self) -> None:
        with contextlib.suppress(*BROKER_OR_DATA_ERRORS):
            self._store.leave(self._name)

    def _report(self, outcome: RoundOutcome) -> int:
        """Write this machine's reports of a complete round; return the exit status."""
        leader = on_one_line(outcome.leader)
        self._context.say(
            f"run {self._run_name} is complete (round {outcome.number}, led by {leader}); its report follows"
        )
        with tempfile.TemporaryDirectory(prefix="pm-join-") as scratch:
            fetch(self._run, outcome, Path(scratch))
            return replay_record(
                Path(scratch),
                self._config,
                self._context,
                status=outcome.status,
                updates_history=not self._has_led,
            )

    def _runner(self, target: BrokerTarget, joined: BrokerJournal | None = None) -> TestRunner:
        context = self._context
        return TestRunner(
            self._config,
            target=target,
            environ=context.environ,
            cwd=context.cwd,
            origins=context.origins,
            joined=joined,
        )

    def _run_id(self, number: int) -> str:
        return join_run_id(self._config.join or "", number)


def _failed_paths(results: TestResults) -> tuple[str, ...]:
    """Return the files that a retry of a run executes."""
    paths = [record.file.path for record in results.records if not record.status.is_pass]
    paths += [difference.file.path for difference in results.differing]
    return tuple(dict.fromkeys(paths))
