"""A server whose memory is full: workers go on once it takes data again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from passmuster.model.status import Status
from tests.support.queue_worker import Run, WorkerProcess, until
from tests.support.valkey import private_server


def test_a_worker_outlives_a_server_that_is_full(tmp_path: Path) -> None:
    for name in ("first.py", "ok.py"):
        (tmp_path / name).write_text("print('hello')\n")
    with private_server() as server:
        run = Run(server.url)
        client: Any = run.client
        worker = WorkerProcess(server.url, tmp_path)
        try:
            task = run.task("ok.py")
            run.submit(run.task("first.py"))
            run.wait(1)  # It serves the run now.
            run.record.add({"ok.py": 101})
            run.publish(task, 101)
            client.config_set("maxmemory", 1)

            # Taking a message is allowed then, noting that it was taken is not.
            until(
                lambda: not run.record.queue_length() or worker.process.poll() is not None,
                "the message is taken",
            )
            client.config_set("maxmemory", 0)
            run.publish(task, 101)

            assert run.wait(2)["ok.py"].status is Status.PASS
            assert worker.process.poll() is None
        finally:
            worker.close()
            run.close()
