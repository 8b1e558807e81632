"""The address by which other hosts reach this one."""

from __future__ import annotations

import errno
import ipaddress
import socket

from mls.core.errors import UserError


def reachable_address(first: str, key: str = "mpi.hosts") -> str:
    """The IPv4 address of this host by `first`, the name of the first of several hosts.

    key: the config's key that the name is from. Raises `UserError` when the name isn't known, is
    another host's, or stands for a loopback address here, which other hosts can't reach.
    """
    try:
        addresses = socket.getaddrinfo(first, 0, socket.AF_INET, socket.SOCK_STREAM)
    except OSError:
        raise UserError(
            f"{key}: {first} has no IPv4 address; give a name that this host knows, or an address."
        ) from None
    address = str(addresses[0][4][0])
    if ipaddress.ip_address(address).is_loopback:
        raise UserError(
            f"{key}: {first} is {address} here, which other hosts can't reach; give the first host "
            "by its address on their network."
        )
    with socket.socket() as trial:
        try:
            trial.bind((address, 0))
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
            raise UserError(
                f"{key}: {first} ({address}) is not this host; the first must be the one on which the "
                "workflow runs, which is where the server and rank 0 are."
            ) from None
    return address
