"""Python objects over a socket; large arrays as they lie in memory, without a copy.

A message is a count n, n lengths (8-byte little-endian all), and n parts: a
pickle (protocol 5), and the buffers that were kept out of it.
"""

from __future__ import annotations

import pickle
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Any

#: A buffer smaller than this is cheaper inside the pickle than with a system call of its own.
_OUT_OF_BAND_BYTES = 32 * 1024
_COUNT = struct.Struct("<Q")
#: The kernel takes no more at once.
_MOST_PARTS = 512


def encode(message: Any) -> list[memoryview]:
    """The bytes of a message, in pieces to be sent one after the other."""
    buffers: list[memoryview] = []

    def keep_inside(buffer: pickle.PickleBuffer) -> bool:
        view = buffer.raw()
        if view.nbytes < _OUT_OF_BAND_BYTES:
            return True
        buffers.append(view)
        return False

    body = pickle.dumps(message, protocol=5, buffer_callback=keep_inside)
    parts = [memoryview(body), *buffers]
    head = b"".join(_COUNT.pack(number) for number in (len(parts), *(p.nbytes for p in parts)))
    if len(body) < _OUT_OF_BAND_BYTES and len(parts) == 1:
        return [memoryview(head + body)]
    return [memoryview(head), *parts]


class Reader:
    """Puts messages together from whatever pieces they arrive in."""

    def __init__(self) -> None:
        self._parts: list[bytearray] = []
        self._lengths: list[int] = []
        self._expect(_COUNT.size, self._count)

    def _expect(self, n_bytes: int, then: Callable[[bytearray], Any]) -> None:
        self._buffer = bytearray(n_bytes)
        self._view = memoryview(self._buffer)
        self._then = then

    def _count(self, data: bytearray) -> None:
        self._expect(_COUNT.size * _COUNT.unpack(data)[0], self._sizes)

    def _sizes(self, data: bytearray) -> None:
        self._lengths = [length for (length,) in _COUNT.iter_unpack(data)]
        self._parts = []
        self._expect(self._lengths[0], self._part)

    def _part(self, data: bytearray) -> tuple[Any] | None:
        self._parts.append(data)
        if len(self._parts) < len(self._lengths):
            self._expect(self._lengths[len(self._parts)], self._part)
            return None
        body, *buffers = self._parts
        self._parts = []
        self._expect(_COUNT.size, self._count)
        return (pickle.loads(body, buffers=buffers),)

    def read(self, connection: socket.socket) -> tuple[Any] | None:
        """Read once; (message,) if that completed one, else None.

        Raises EOFError when the other end is closed, BlockingIOError when a
        non-blocking socket has nothing.
        """
        n_bytes = connection.recv_into(self._view)
        if n_bytes == 0:
            raise EOFError
        self._view = self._view[n_bytes:]
        complete = None
        while not self._view:  # A part may be empty.
            self._view.release()
            complete = self._then(self._buffer)
            if complete is not None:
                break
        return complete


class Channel:
    """One end of a socket.

    Parameters
    ----------
    connection : socket.socket
        Non-blocking for `messages`, blocking for `receive`.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._reader = Reader()
        self._unsent: deque[memoryview] = deque()

    def fileno(self) -> int:
        return self.connection.fileno()

    @property
    def sending(self) -> bool:
        """Whether something waits to be sent."""
        return bool(self._unsent)

    def queue(self, message: Any) -> None:
        """Send what can be sent at once, all if the socket is blocking, and the rest in `pump`."""
        self._unsent.extend(encode(message))
        self.pump()

    def pump(self) -> None:
        """Send as much as the socket takes."""
        while self._unsent:
            try:
                sent = self.connection.sendmsg(list(self._unsent)[:_MOST_PARTS])
            except BlockingIOError:
                return
            while self._unsent and sent >= self._unsent[0].nbytes:
                sent -= self._unsent.popleft().nbytes
            if sent:
                self._unsent[0] = self._unsent[0][sent:]

    def messages(self) -> list[Any]:
        """All messages that have come; raises EOFError if there are none and none will come."""
        found: list[Any] = []
        while True:
            try:
                complete = self._reader.read(self.connection)
            except BlockingIOError:
                return found
            except (EOFError, OSError):
                if found:
                    return found
                raise EOFError from None
            if complete is not None:
                found.extend(complete)

    def receive(self) -> Any:
        """Wait for a message; raises EOFError."""
        while (complete := self._reader.read(self.connection)) is None:
            pass
        return complete[0]

    def close(self) -> None:
        self._unsent.clear()
        self.connection.close()
