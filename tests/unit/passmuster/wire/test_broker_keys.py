"""Keys and timeouts on the broker are consistent."""

from __future__ import annotations

from passmuster.wire import broker_keys as routing


def test_the_lists_of_a_queue_are_named_as_the_transport_names_them() -> None:
    assert routing.queue_keys("r") == ("pm:pm.r", "pm:pm.r\x06\x165")


def test_all_keys_have_the_prefix_and_differ() -> None:
    keys = [
        *(
            make("r")
            for make in (routing.meta_key, routing.state_key, routing.lease_key, routing.results_key)
        ),
        *routing.queue_keys("r"),
        routing.worker_key("r"),
        routing.RUNS_KEY,
        routing.WORKERS_KEY,
    ]

    assert len(set(keys)) == len(keys)
    assert all(key.startswith(routing.PREFIX) for key in keys)


def test_a_lease_outlives_several_missed_heartbeats() -> None:
    assert 4 * routing.HEARTBEAT_S <= routing.LEASE_S
    assert 4 * routing.HEARTBEAT_S <= routing.WORKER_TTL_S


def test_a_worker_has_a_queue_of_its_own_in_each_run() -> None:
    name = routing.worker_queue_name("r", "build-7")

    assert routing.worker_queue_keys("r", "build-7") == (f"pm:{name}", f"pm:{name}\x06\x165")
    assert routing.is_worker_queue(name)
    assert not routing.is_worker_queue(routing.queue_name("r"))
    assert name != routing.worker_queue_name("r", "build-8") != routing.worker_queue_name("s", "build-8")
