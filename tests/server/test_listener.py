import socket

import pytest

from secrets_manager.errors import StartError
from secrets_manager.server.listener import listen


def test_a_port_in_use_is_one_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"

        with pytest.raises(StartError) as raised, listen(address, flag="metrics-addr"):
            pass

    problem = "the port is in use: stop the other process, or choose another port"
    assert str(raised.value) == f"metrics-addr {address}: {problem}"


def test_an_address_of_another_machine_is_one_clear_error() -> None:
    with pytest.raises(StartError) as raised, listen("192.0.2.1:8080", flag="metrics-addr"):
        pass

    assert str(raised.value) == "metrics-addr 192.0.2.1:8080: can't listen there: Cannot assign requested address"
