"""What a run's store does without a broker."""

from __future__ import annotations

import gc
import weakref

from passmuster.wire.run_store import RunStore, connect


def test_a_store_that_is_gone_holds_its_client_no_longer() -> None:
    client = connect("redis://localhost:1/0", timeout_s=1)
    store = RunStore(client, "run")
    seen = weakref.ref(store)

    gc.disable()
    try:
        del store
        assert seen() is None
    finally:
        gc.enable()
        client.close()
