"""Check the way to Vault and its state, by a request without a login. Errors of DNS, TCP, TLS and proxies differ."""

import os
from datetime import timedelta
from typing import NamedTuple
from urllib.parse import urlsplit

from secrets_manager.backends.vault.address import Address, parse_address
from secrets_manager.backends.vault.health import Health
from secrets_manager.backends.vault.probe import Answer, Network, probe
from secrets_manager.config import VaultConfig
from secrets_manager.cut import cut
from secrets_manager.doctor.checkup import Result
from secrets_manager.doctor.clock import Clock, skew_of
from secrets_manager.doctor.finding import MAX_NAME, Finding, failure, has_failed, ok, warning
from secrets_manager.net import errors as net
from secrets_manager.net.hosts import for_messages
from secrets_manager.net.proxy import proxy_for

CONNECTION = "vault-connection"
SERVER = "vault-server"
FIX = "correct --vault.url (VAULT_ADDR)"
FILES_FIX = "correct the setting or the file that the message names"

DR_SECONDARY = 472
"""The status of a cluster for disaster recovery, which serves no requests."""


class Vault(NamedTuple):
    """A Vault that answers, and by how much its clock is ahead. `health` is None if it can't serve requests."""

    health: Health | None
    skew: timedelta | None


async def check(config: VaultConfig, clock: Clock, *, transport: Network) -> Result[Vault]:
    """Ask for Vault's health. `transport` replaces the network.

    Raises:
        UsageError: vault.url is not an address, or a certificate file or a proxy can't be used.
    """
    address = parse_address(config.url)
    proxy = "" if transport or address.socket else for_messages(proxy_for(str(address.url), environ=os.environ))
    try:
        answer = await probe(config, transport=transport)
    except net.HttpError as error:
        return Result([unreachable(error, address, proxy)])
    skew = skew_of(answer.date, clock())
    reached = ok(CONNECTION, f"Vault at {address} answers{f', through the proxy {proxy}' if proxy else ''}")
    state = judge(answer)
    usable = None if has_failed([state]) else answer.health
    return Result([reached, state], Vault(usable, skew))


def unreachable(error: net.HttpError, address: Address, proxy: str) -> Finding:
    """Return the finding about a Vault that did not answer. `proxy` is its URL; empty for a direct connection."""
    where = f"Vault at {address}"
    host = urlsplit(proxy).hostname if proxy else address.url.host
    server = f"the proxy {proxy}" if proxy else where
    variable = f"{address.url.scheme.upper()}_PROXY"
    match error:
        case net.NameNotKnown():
            message = f"{server} can't be reached: DNS does not know {host}"
            fix = f"correct {variable if proxy else '--vault.url (VAULT_ADDR)'}, or the DNS of this machine or pod"
        case net.ProxyRefused(status=status):
            message = f"the proxy {proxy} did not connect us to {where}{f' ({status})' if status else ''}"
            fix = f"correct {variable}, allow the address in the proxy, or add Vault's host to NO_PROXY"
        case net.ConnectFailed(cause=cause):
            message = f"{server} can't be reached{f': {cause}' if cause else ''}"
            fix = "check host and port, that it runs, and that firewalls and network policies allow the connection"
        case net.CertificateNotTrusted(flaw=flaw):
            message = f"{where} has a certificate that is not trusted: {flaw}"
            fix = _tls_fix(flaw)
        case net.TlsRefused(flaw=flaw):
            message = f"{where} refused the TLS connection: {flaw}"
            fix = "set --vault.client-cert and --vault.client-key if it requires a client certificate"
        case net.TlsFailed(flaw=flaw):
            message = f"{where} can't be reached by TLS: {flaw or 'the handshake failed'}"
            fix = f"{FIX}: does it speak http there?"
        case net.TimedOut():
            message = f"{server} did not answer in time"
            fix = "check that firewalls and network policies allow the connection, and the load of the server"
        case _:
            message = f"{where} sent no response: {error}"
            fix = f"{FIX}: does it speak https there?"
    return failure(CONNECTION, message, fix=fix)


def judge(answer: Answer) -> Finding:
    """Return the finding about the state of a server that answered."""
    health = answer.health
    if health is None:
        return failure(SERVER, f"the response is not Vault's ({answer.status})", fix=FIX)
    name = f"version {cut(health.version, MAX_NAME)}"
    if not health.initialized:
        return failure(SERVER, f"{name} is not initialized", fix="initialize it: vault operator init")
    if health.sealed:
        return failure(SERVER, f"{name} is sealed", fix="unseal it: vault operator unseal")
    if answer.status == DR_SECONDARY:
        message = f"{name} is a secondary for disaster recovery, which serves no requests"
        return failure(SERVER, message, fix=f"{FIX}: name the primary cluster")
    if health.standby:
        message = f"{name} is a standby: it forwards each request to the active node"
        return warning(SERVER, message, fix=f"{FIX}: name the active node, such as the Service vault-active")
    return ok(SERVER, f"{name}, unsealed and active")


def _tls_fix(flaw: str) -> str:
    if "mismatch" in flaw:  # OpenSSL's word for a certificate of another host
        return "correct the host in --vault.url (VAULT_ADDR), or set --vault.tls-server-name to a name in it"
    if "expired" in flaw or "not yet valid" in flaw:
        return "renew the certificate of Vault, or correct the clock of this machine"
    return "set --vault.ca-cert (VAULT_CACERT) to the authority that has issued it"
