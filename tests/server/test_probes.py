from secrets_manager.server.message import Response
from secrets_manager.server.probes import health, ready


class Patient:
    """A process in the state that the test wants."""

    def __init__(
        self, *, failures: tuple[str, ...] = (), unsynced: tuple[str, ...] = (), unwatched: tuple[str, ...] = ()
    ) -> None:
        self.failures = list(failures)
        self.unsynced = list(unsynced)
        self.unwatched = list(unwatched)


WELL = Patient()


def test_probes_say_ok_while_all_is_well() -> None:
    assert health(WELL) == Response(200, b"ok\n")
    assert ready(WELL) == Response(200, b"ok\n")


def test_what_only_a_restart_helps_is_unhealthy_but_no_reason_to_leave_the_service() -> None:
    patient = Patient(failures=("the work has ended", "the lease has expired"))

    assert health(patient) == Response(503, b"the work has ended\nthe lease has expired\n")
    assert ready(patient) == Response(200, b"ok\n")


def test_every_watch_that_has_no_list_yet_is_named() -> None:
    patient = Patient(unsynced=("the first list of shop is under way", "the first list of web is under way"))

    assert ready(patient) == Response(503, b"the first list of shop is under way\nthe first list of web is under way\n")
    assert health(patient) == Response(200, b"ok\n")


def test_what_can_not_be_watched_has_its_line_and_is_no_reason_to_be_not_ready() -> None:
    refusal = "can't watch secrets in shop: 403 Forbidden"
    started, starting = Patient(unwatched=(refusal,)), Patient(unsynced=("no list yet",), unwatched=(refusal,))

    assert ready(started) == Response(200, f"ok\n{refusal}\n".encode())
    assert ready(starting) == Response(503, f"no list yet\n{refusal}\n".encode())
    assert health(started) == Response(200, b"ok\n")
