"""From an address to the way there."""

from __future__ import annotations

from wepystore.remotes.address import Address
from wepystore.remotes.mirror import Transport


def transport(address: Address, shell: str | None) -> Transport:
    """The Transport of an address of kind "ssh" or "url"."""
    if address.kind == "ssh":
        from wepystore.remotes.ssh import SSH

        return SSH(address, shell)
    from wepystore.remotes.url import URL

    return URL(address)
