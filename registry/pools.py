"""Connections as the HTTP library keeps them, with what it lacks for large bodies that are sent, and slow headers."""

import socket
from collections.abc import Mapping
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.poolmanager import PoolManager, ProxyManager

from registry.connections import Addresses, connected
from registry.pipes import Piped
from registry.timely import TimelyResponse


def adapter(hosts: int, connections: int, patience: float, addresses: Addresses | None = None) -> HTTPAdapter:
    """Keeps so many connections to each of so many hosts; `patience` is how many seconds one may take no byte.

    `addresses` finds the hosts; without it this machine's resolver does.
    """
    return _Adapter(pools(patience, addresses), pool_connections=hosts, pool_maxsize=connections)


class _Adapter(HTTPAdapter):
    def __init__(self, pools: Mapping[str, type[HTTPConnectionPool]], **arguments: Any) -> None:
        self._pools = pools
        super().__init__(**arguments)

    def init_poolmanager(self, *arguments: Any, **more: Any) -> None:
        super().init_poolmanager(*arguments, **more)
        self._equip(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **more: Any) -> ProxyManager:
        manager: ProxyManager = super().proxy_manager_for(proxy, **more)
        self._equip(manager)
        return manager

    def _equip(self, manager: PoolManager) -> None:
        manager.pool_classes_by_scheme = dict(self._pools)


def pools(patience: float, addresses: Addresses | None = None) -> Mapping[str, type[HTTPConnectionPool]]:
    """By scheme, for a manager of pools that is made elsewhere."""

    class Plain(HTTPConnection):
        response_class = TimelyResponse

        def _new_conn(self) -> socket.socket:
            return connected(self, super()._new_conn, addresses)

        def endheaders(self, *arguments: Any, **more: Any) -> None:
            super().endheaders(*arguments, **more)
            _be_patient(self.sock, patience)

        def send(self, data: Any) -> None:
            if isinstance(data, Piped) and type(self.sock) is socket.socket:
                data.into(self.sock)
            else:
                super().send(data)

    class Secure(HTTPSConnection):
        response_class = TimelyResponse

        def _new_conn(self) -> socket.socket:
            return connected(self, super()._new_conn, addresses)

        def endheaders(self, *arguments: Any, **more: Any) -> None:
            super().endheaders(*arguments, **more)
            _be_patient(self.sock, patience)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


def _be_patient(sock: socket.socket | None, patience: float) -> None:
    """The library waits as long for a body to be taken as for a connection, which a busy disk exceeds."""
    if sock is not None:
        sock.settimeout(patience)
