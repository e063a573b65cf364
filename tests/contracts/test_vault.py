"""Vault's responses and what follows from them: the same cases against the double and a real OpenBao."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from fake_kubernetes.documents import Object
from secrets_manager.backends import (
    BackendError,
    Document,
    Folder,
    NotListable,
    Source,
    SourceForbidden,
    SourceMalformed,
    SourceNotFound,
    Unavailable,
    VersionDeleted,
    VersionDestroyed,
)
from secrets_manager.backends.vault.client import open_vault_client
from secrets_manager.backends.vault.health import get_health
from tests.contracts.vault import UNUSED_CREDENTIALS, Vault, backend_of, client_of, config_for
from tests.real.openbao import running_openbao

PAGE_SIZE = 1_500


async def read(vault: Vault, source: Source | str, *, engine: str = "kv2", allowed: str = "") -> Document:
    """One read by a role that may read this path alone."""
    source = Source(source) if isinstance(source, str) else source
    credentials = vault.reader(allowed or source.path)
    async with backend_of(vault, credentials, engine=engine) as backend:
        return await backend.read(source)


async def failure(
    vault: Vault, source: Source | str, *, engine: str = "kv2", allowed: str = ""
) -> tuple[type[BackendError], str]:
    with pytest.raises(BackendError) as caught:
        await read(vault, source, engine=engine, allowed=allowed)
    return type(caught.value), str(caught.value)


async def listing(vault: Vault, folder: str, *allowed: str) -> Mapping[str, str]:
    async with backend_of(vault, vault.reader(*allowed)) as backend:
        return await backend.markers(Folder(folder))


class TestListings:
    async def test_a_listing_has_the_markers_of_reads(self, vault: Vault) -> None:
        folder = f"secret/data/{vault.fresh()}"
        for name in ("one", "two", "a b/c"):
            vault.write_kv(f"{folder}/{name}", {"k": "v"})
        vault.write_kv(f"{folder}/two", {"k": "w"})

        async with backend_of(vault, vault.reader(f"{folder}/*", f"{detailed(folder)}/*")) as backend:
            listed = await backend.markers(Folder(folder))
            below = await backend.markers(Folder(f"{folder}/a b"))
            read = {name: (await backend.read(Source(f"{folder}/{name}"))).marker for name in ("one", "two", "a b/c")}

        assert {**listed, **{f"a b/{name}": marker for name, marker in below.items()}} == read

    async def test_each_state_of_the_newest_version_has_a_marker_of_its_own(self, vault: Vault) -> None:
        path, listed = f"secret/data/{vault.fresh()}/db", list[str | None]()

        async def note() -> None:
            """The markers of a folder that has always another secret in it."""
            found = await backend.markers(Folder(folder))
            assert found.keys() - {"db"} == {"other"}
            listed.append(found.get("db"))

        folder = path.removesuffix("/db")
        async with backend_of(vault, vault.reader(f"{folder}/*", f"{detailed(folder)}/*")) as backend:
            vault.write_kv(f"{folder}/other", {"k": "v"})
            vault.delete_later(path)
            await note()
            vault.write_kv(path, {"k": "v"})
            await note()
            document = await backend.read(Source(path))
            vault.delete_kv(path)
            await note()
            vault.undelete_kv(path)
            await note()
            vault.delete_kv(path)
            vault.destroy_kv(path)
            await note()
            vault.forget_kv(path)
            await note()

        live = document.marker
        assert listed == ["unwritten", live, f"{live} deleted", live, f"{live} destroyed", None]

    async def test_folder_beside_a_secret_of_its_name_is_no_secret(self, vault: Vault) -> None:
        folder = f"secret/data/{vault.fresh()}"
        vault.write_kv(f"{folder}/db/below", {"k": "v"})
        vault.write_kv(f"{folder}/db", {"k": "v"})

        assert (await listing(vault, folder, f"{detailed(folder)}/*")).keys() == {"db"}

    async def test_a_recreated_secret_has_another_marker(self, vault: Vault) -> None:
        folder = f"secret/data/{vault.fresh()}"
        vault.write_kv(f"{folder}/app", {"k": "v"})
        before = await listing(vault, folder, f"{detailed(folder)}/*")
        vault.forget_kv(f"{folder}/app")
        vault.write_kv(f"{folder}/app", {"k": "v"})

        assert (await listing(vault, folder, f"{detailed(folder)}/*"))["app"] != before["app"]

    async def test_listing_of_several_pages(self, vault: Vault) -> None:
        folder = f"secret/data/{vault.fresh()}"
        names = [f"app-{number:04}" for number in range(PAGE_SIZE)]
        for name in names:
            vault.write_kv(f"{folder}/{name}", {"k": "v"})
        full = await listing(vault, folder, f"{detailed(folder)}/*")
        vault.write_kv(f"{folder}/one-more", {"k": "v"})
        more = await listing(vault, folder, f"{detailed(folder)}/*")

        assert (sorted(full), sorted(more)) == (names, [*names, "one-more"])

    async def test_folder_that_the_policy_forbids_can_not_be_listed(self, vault: Vault) -> None:
        folder = f"secret/data/{vault.fresh()}"
        vault.write_kv(f"{folder}/app", {"k": "v"})

        with pytest.raises(NotListable, match="403"):
            await listing(vault, folder, f"{folder}/*")

    @pytest.mark.parametrize("mount", ["secret", "kv1"])
    async def test_folder_of_which_nothing_is_known_can_not_be_listed(self, vault: Vault, mount: str) -> None:
        if mount == "kv1":
            mount = vault.fresh(mount)
            vault.mount_kv1(mount)
        folder = f"{mount}/data/{vault.fresh('nothing')}"

        with pytest.raises(NotListable):
            await listing(vault, folder, f"{detailed(folder)}/*")


def detailed(folder: str) -> str:
    return folder.replace("/data", "/detailed-metadata", 1)


class TestReads:
    async def test_values_keep_their_json_text(self, vault: Vault) -> None:
        path = f"secret/data/{vault.fresh()}"
        content: Object = {"text": "v", "n": 5432, "f": 1.5, "yes": True, "nothing": None, "o": {"a": [1, 2]}, "": ""}
        vault.write_kv(path, content)

        document = await read(vault, path)

        assert document.values == {
            "text": "v",
            "n": "5432",
            "f": "1.5",
            "yes": "true",
            "nothing": None,
            "o": '{"a":[1,2]}',
            "": "",
        }
        assert document.version == 1

    async def test_newest_version_or_the_one_asked_for(self, vault: Vault) -> None:
        path = f"secret/data/{vault.fresh()}"
        vault.write_kv(path, {"k": "old"})
        vault.write_kv(path, {"k": "new"})

        newest, first = await read(vault, path), await read(vault, Source(path, "1"))

        assert (newest.values, newest.version) == ({"k": "new"}, 2)
        assert (first.values, first.version) == ({"k": "old"}, 1)

    async def test_recreated_secret_of_the_same_version_has_another_marker(self, vault: Vault) -> None:
        path = f"secret/data/{vault.fresh()}"
        vault.write_kv(path, {"k": "v"})
        before, again = await read(vault, path), await read(vault, path)
        vault.forget_kv(path)
        vault.write_kv(path, {"k": "v"})

        after = await read(vault, path)

        assert before.marker == again.marker
        assert (before.version, after.version) == (1, 1)
        assert before.marker != after.marker

    async def test_path_with_characters_that_urls_reserve(self, vault: Vault) -> None:
        name = f"{vault.fresh()} 100%2F é+&=;*~:@..x"
        vault.write_kv(f"secret/data/{name}", {"k": "v"})

        document = await read(vault, f"secret/data/{name}", allowed="secret/data/*")

        assert document.values == {"k": "v"}

    async def test_secret_without_keys(self, vault: Vault) -> None:
        path = f"secret/data/{vault.fresh()}"
        vault.write_kv(path, {})

        assert (await read(vault, path)).values == {}

    async def test_secret_written_as_null(self, vault: Vault) -> None:
        path = f"secret/data/{vault.fresh()}"
        vault.write_kv(path, None)

        assert await failure(vault, path) == (
            SourceMalformed,
            f"path '{path}' was written without any keys: write it again",
        )

    async def test_never_written(self, vault: Vault) -> None:
        path = f"secret/data/{vault.fresh()}"

        assert await failure(vault, path) == (
            SourceNotFound,
            f"path '{path}' does not exist in Vault: write it, or correct the path",
        )

    async def test_version_that_is_not_there(self, vault: Vault) -> None:
        path = f"secret/data/{vault.fresh()}"
        vault.write_kv(path, {"k": "v"})

        assert await failure(vault, Source(path, "9")) == (
            SourceNotFound,
            f"path '{path}' has no version 9: name a version that is there",
        )

    async def test_deleted_version(self, vault: Vault) -> None:
        path = f"secret/data/{vault.fresh()}"
        vault.write_kv(path, {"k": "v"})
        vault.delete_kv(path)

        assert await failure(vault, path) == (
            VersionDeleted,
            f"path '{path}': version 1 was deleted: undelete it, or write a new one",
        )
        assert await failure(vault, Source(path, "1")) == (
            VersionDeleted,
            f"path '{path}': version 1 was deleted: undelete it, or name another version",
        )

    async def test_destroyed_version(self, vault: Vault) -> None:
        path = f"secret/data/{vault.fresh()}"
        vault.write_kv(path, {"k": "v"})
        vault.destroy_kv(path)

        assert await failure(vault, path) == (
            VersionDestroyed,
            f"path '{path}': version 1 was destroyed: name another version, or write a new one",
        )
        assert await failure(vault, Source(path, "1")) == (
            VersionDestroyed,
            f"path '{path}': version 1 was destroyed: name another version",
        )

    async def test_path_of_kv2_without_data(self, vault: Vault) -> None:
        assert await failure(vault, "secret/shop/db") == (
            SourceNotFound,
            (
                "path 'secret/shop/db' lacks data/, which KV version 2 has after the mount: "
                "write the mount, then data/, then the rest, as in secret/data/app"
            ),
        )
        assert await failure(vault, "secret/db") == (
            SourceNotFound,
            "path 'secret/db' lacks data/, which KV version 2 has after the mount: write 'secret/data/db'",
        )

    async def test_secret_that_has_metadata_and_no_version(self, vault: Vault) -> None:
        path = f"secret/data/{vault.fresh()}"
        vault.delete_later(path)

        assert await failure(vault, path) == (
            SourceNotFound,
            f"path '{path}' does not exist in Vault: write it, or correct the path",
        )

    async def test_version_that_is_to_be_deleted_later_is_read_until_then(self, vault: Vault) -> None:
        path = f"secret/data/{vault.fresh()}"
        vault.delete_later(path)
        vault.write_kv(path, {"k": "v"})

        assert (await read(vault, path)).values == {"k": "v"}

    async def test_path_that_the_policies_forbid(self, vault: Vault) -> None:
        path = f"secret/data/{vault.fresh()}"
        vault.write_kv(path, {"k": "v"})

        assert await failure(vault, path, allowed="secret/data/other") == (
            SourceForbidden,
            f"path '{path}' is forbidden by Vault's policies: allow reading it to the controller's role",
        )

    async def test_path_below_no_mount(self, vault: Vault) -> None:
        assert await failure(vault, "no-such-mount/data/x") == (
            SourceNotFound,
            "path 'no-such-mount/data/x' is under no secrets engine: correct the path, or mount one there",
        )


class TestReadsOfKv1:
    @pytest.fixture
    def mount(self, vault: Vault) -> str:
        name = vault.fresh("kv1")
        vault.mount_kv1(name)
        return name

    async def test_values_and_marker(self, vault: Vault, mount: str) -> None:
        path = f"{mount}/app"
        vault.write_kv(path, {"s": "v", "n": 1})
        before, again = await read(vault, path, engine="kv1"), await read(vault, path, engine="kv1")
        vault.write_kv(path, {"s": "w", "n": 1})

        after = await read(vault, path, engine="kv1")

        assert (before.values, before.version) == ({"s": "v", "n": "1"}, None)
        assert after.values == {"s": "w", "n": "1"}
        assert before.marker == again.marker != after.marker

    async def test_never_written(self, vault: Vault, mount: str) -> None:
        kind, _ = await failure(vault, f"{mount}/missing", engine="kv1")

        assert kind is SourceNotFound

    async def test_secret_of_kv1_read_as_kv2(self, vault: Vault, mount: str) -> None:
        path = f"{mount}/app"
        vault.write_kv(path, {"data": "v"})

        assert await failure(vault, path, engine="kv2") == (
            SourceMalformed,
            (
                f"path '{path}': Vault's response is not a secret of KV version 2: "
                "correct the path, or set vault.engine=kv1"
            ),
        )

    async def test_secret_of_kv2_read_as_kv1(self, vault: Vault) -> None:
        path = f"secret/data/{vault.fresh()}"
        vault.write_kv(path, {"k": "v"})

        assert await failure(vault, path, engine="kv1") == (
            SourceMalformed,
            f"path '{path}' is of KV version 2: set vault.engine=kv2",
        )


class TestBackend:
    async def test_read_with_an_invalid_token_logs_in_and_retries(self, vault: Vault) -> None:
        path = f"secret/data/{vault.fresh()}"
        vault.write_kv(path, {"k": "v"})
        vault.policy(policy := vault.fresh("policy"), path)
        # One use is left when the first read is done; the second read finds the token spent.
        credentials = vault.approle(vault.fresh("role"), policies=(policy,), token_num_uses=1)

        async with backend_of(vault, credentials) as backend:
            documents = [await backend.read(Source(path)) for _ in range(3)]

        assert [document.values for document in documents] == [{"k": "v"}] * 3
        assert vault.count("GET", path) == 3 + 2

    async def test_sealed(self, vault: Vault) -> None:
        path = f"secret/data/{vault.fresh()}"
        vault.write_kv(path, {"k": "v"})

        async with backend_of(vault, vault.reader(path)) as backend:
            before = await backend.read(Source(path))
            with vault.sealed(), pytest.raises(Unavailable) as caught:
                await backend.read(Source(path))
            after = await backend.read(Source(path))

        assert str(caught.value) == "Vault is sealed or can't serve requests now (503) (Vault is sealed)"
        assert before == after


class TestServer:
    async def test_names_itself(self, vault: Vault) -> None:
        async with client_of(vault) as client:
            server = await get_health(client)

        assert server
        assert (server.version, bool(server.cluster_id), bool(server.cluster_name)) == ("2.7.2", True, True)

    async def test_names_no_cluster_while_it_is_sealed(self, vault: Vault) -> None:
        async with client_of(vault) as client:
            with vault.sealed():
                server = await get_health(client)

        assert server
        assert (server.version, server.cluster_id, server.cluster_name) == ("2.7.2", "", "")


@pytest.mark.real
async def test_certificate_that_is_not_trusted(tmp_path: Path) -> None:
    with running_openbao(tmp_path, tls=True) as bao:
        async with open_vault_client(config_for(bao, UNUSED_CREDENTIALS)) as client:
            with pytest.raises(Unavailable) as caught:
                await get_health(client)

    assert str(caught.value) == (
        f"Vault at {bao.url} has a certificate that is not trusted (unable to get local issuer certificate): "
        "check its CA and its host name"
    )
