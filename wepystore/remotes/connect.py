"""From an address to the way there."""

from __future__ import annotations

from wepystore.remotes.address import Address
from wepystore.remotes.elsewhere import Transport


def transport(address: Address, shell: str | None) -> Transport | None:
    """The way to an address of kind "ssh" or "url"; None for one of this machine."""
    if address.kind == "ssh":
        from wepystore.remotes.ssh import SSH

        return SSH(address, shell)
    if address.kind == "url":
        from wepystore.remotes.url import URL

        return URL(address)
    return None
