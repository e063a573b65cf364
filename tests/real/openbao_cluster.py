"""A real OpenBao of three nodes, which elect the one that leads; the others serve nothing by themselves."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from fake_kubernetes.documents import at, items
from tests.real.openbao import READY_WITHIN
from tests.real.openbao_stored import StoredOpenBao, running_node, running_stored_openbao

CONFIGURATION = "disable_standby_reads = true\n"


class OpenBaoCluster:
    """As root, by any of its nodes."""

    def __init__(self, nodes: list[StoredOpenBao]) -> None:
        self._nodes = nodes

    @property
    def leader(self) -> StoredOpenBao:
        """Raises: StopIteration while there is none."""
        return next(node for node in self._nodes if node.program.running and node.serves())

    @property
    def standby(self) -> StoredOpenBao:
        """One of them."""
        leader = self.leader
        return next(node for node in self._nodes if node is not leader and node.program.running)


@contextmanager
def running_openbao_cluster(folder: Path) -> Generator[OpenBaoCluster]:
    """AppRole is mounted, and `secret/` as KV version 2. Each node has a vote, so one may die."""
    folders = [folder / name for name in ("one", "two", "three")]
    for each in folders:
        each.mkdir()
    with ExitStack() as stack:
        leader = stack.enter_context(running_stored_openbao(folders[0], configuration=CONFIGURATION))
        nodes = [leader]
        leader.request("POST", "sys/storage/raft/autopilot/configuration", {"server_stabilization_time": "1s"})
        for each in folders[1:]:
            url, program = stack.enter_context(running_node(each, configuration=CONFIGURATION))
            nodes.append(StoredOpenBao.joined(leader, url, program=program, folder=each))
            stack.callback(nodes[-1].close)
        leader.program.wait_until(lambda: _voters(leader) == len(nodes), seconds=READY_WITHIN)
        yield OpenBaoCluster(nodes)


def _voters(leader: StoredOpenBao) -> int:
    configuration = leader.request("GET", "sys/storage/raft/configuration")
    return sum(at(server, "voter") is True for server in items(configuration, "data", "config", "servers"))
