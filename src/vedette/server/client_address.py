"""Who is asking: the address of the client, believed only as far as listed proxies vouch for it.

Every hop appends the address it saw to ``X-Forwarded-For`` (or ``Forwarded``, RFC 7239), so only the right end of the
list was written by somebody we know. Reading from the right, hops that are listed proxies are passed over; the first
that is not is the client. A hop that is no address ends the walk: what stands left of it is anybody's word.

``X-Forwarded-For`` goes before ``Forwarded``: most proxies maintain only the former and hand the latter on as the
client sent it. A proxy that writes ``Forwarded`` must therefore remove ``X-Forwarded-For``.

Cost is bounded: at most 64 hops are read, and what is known about a peer is remembered for 4,096 peers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from vedette.errors import ConfigError, RequestError

_MAX_HOPS = 64
_REMEMBERED_PEERS = 4096
_MAX_CHARS = 64  # of an address; what is longer is none, and is not remembered
UNKNOWN = "unknown"
"""Stands for a peer without an address, such as the other end of a Unix socket; it is never trusted."""


class ClientAddresses:
    """Resolves the address of the caller from the peer and the forwarding headers."""

    def __init__(self, trusted_proxies: Sequence[str]) -> None:
        """Take networks in CIDR notation or single addresses; raise `ConfigError` on anything else."""
        networks = []
        for entry in trusted_proxies:
            try:
                networks.append(ip_network(entry, strict=False))
            except ValueError as error:
                raise ConfigError(f"waf_service.trusted_proxies: {error}", key="waf_service.trusted_proxies") from None
        self._networks = tuple(networks)
        self.trusts = lru_cache(_REMEMBERED_PEERS)(self._trusts)

    def _trusts(self, address: str) -> bool:
        parsed = parse_address(address)
        return parsed is not None and any(parsed in network for network in self._networks)

    def caller(self, peer: str, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """Return the address of the caller: `peer`, or who a listed proxy says it is.

        `headers` are ASGI header pairs: lower-case names, in order.
        """
        if not self.trusts(peer):
            return peer
        forwarded_for = [value for name, value in headers if name == b"x-forwarded-for"]
        if forwarded_for:
            return self._walk(peer, b",".join(forwarded_for).decode("latin-1").rsplit(",", _MAX_HOPS))
        forwarded = [value for name, value in headers if name == b"forwarded"]
        if forwarded:
            return self._walk(peer, _for_nodes(b",".join(forwarded).decode("latin-1")))
        return peer

    def _walk(self, peer: str, hops: Sequence[str]) -> str:
        client = peer
        for hop in reversed(hops[-_MAX_HOPS:]):
            address = _strip_port(hop.strip())
            parsed = parse_address(address) if len(address) <= _MAX_CHARS else None
            if parsed is None:
                return client
            client = str(parsed)
            if not self.trusts(client):
                return client
        return client


@lru_cache(_REMEMBERED_PEERS)
def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address, an IPv4-mapped IPv6 one (RFC 4291 section 2.5.5.2) as IPv4, or None if it is none."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def validate_address(text: str, *, field: str) -> str:
    """Return `text` in its canonical form, or raise `RequestError` naming `field`."""
    canonical = _canonical(text) if len(text) <= _MAX_CHARS else None
    if canonical is None:
        raise RequestError("is not an IPv4 or IPv6 address", field=field)
    return canonical


@lru_cache(_REMEMBERED_PEERS)
def _canonical(text: str) -> str | None:
    parsed = parse_address(text)
    return None if parsed is None else str(parsed)


def _strip_port(hop: str) -> str:
    """``192.0.2.1:80``, ``[2001:db8::1]:80`` and ``[2001:db8::1]`` without port and brackets."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop


def _for_nodes(value: str) -> list[str]:
    """Return the ``for`` parameter of the last elements of a ``Forwarded`` header, "" where one has none."""
    nodes = []
    for element in value.rsplit(",", _MAX_HOPS)[-_MAX_HOPS:]:
        node = ""
        for pair in element.split(";", 8):
            name, _, text = pair.strip().partition("=")
            if name.lower() == "for":
                node = text.strip().strip('"')
        nodes.append(node)
    return nodes
