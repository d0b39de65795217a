"""Loads the initial conftests of a prepared pytest session once, in a fork server, if that changes nothing.

pytest gets no path (see `passmuster_child_pytest`), so the initial conftests are the same for every file of a
run. They import much of what the files need: the project's own packages, and libraries. Each step happens at
the point, and in the order, in which it would happen in the process of a file, with the warnings' filters
and the assertion rewriting that pytest has there.
"""

from passmuster_child_identity import BY_FILE, IdentityReads
from passmuster_child_preload import Outputs, interpreter_roots
from passmuster_child_proof import Proof
from passmuster_child_side_effects import CAN_TELL, SideEffects

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Iterable

    from passmuster_child_session import PreparedSession


def hold_conftests(
    session: "PreparedSession", project: "Iterable[str]", find_drawn: "Callable[[], str]", *, is_probe: bool
) -> str:
    """Load the initial conftests; return why no file may be forked from this process now, or "".

    Args:
        session: is changed: its files find their conftests loaded.
        project: the project's folders.
        find_drawn: says whether random numbers were drawn, see `passmuster_child_entropy`.
        is_probe: whether this process ends after that, so that more can be found out.
    """
    if not CAN_TELL:
        return "cannot be watched on this system"
    proof = Proof(project, interpreter_roots()) if is_probe else None
    with Outputs() as outputs:
        before = SideEffects(outputs.descriptor)
        reads = IdentityReads()
        kept = session.hold_conftests(reads)
        outputs.flush()
        after = SideEffects(outputs.descriptor)
        after.settle(before)
        found = after.difference(before, by_file=BY_FILE, allows_path=True)
    return (proof.take() if proof is not None else "") or found or find_drawn() or reads.reason() or kept
