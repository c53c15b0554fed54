"""Servers that do what no gateway should, one way each, as rudely as a socket lets them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Conduct = Callable[[socket.socket, threading.Event], None]


@contextmanager
def behaving(conduct: Conduct) -> Iterator[str]:
    """A server that treats every connection so, and its address; the event is set when the test is over."""
    over = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []
    connections: list[socket.socket] = []

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connections.append(connection)
                thread = threading.Thread(target=treat, args=(connection,), daemon=True)
                threads.append(thread)
                thread.start()

    def treat(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            conduct(connection, over)

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        over.set()
        for open_socket in (listener, *connections):
            with suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in (accepting, *threads):
            thread.join(10)


def request(connection: socket.socket) -> bytes:
    """The next request's head, and what of its body came with it."""
    data = b""
    while b"\r\n\r\n" not in data and (part := connection.recv(65536)):
        data += part
    return data


def answering(status: str, body: bytes = b"", *headers: str, length: int | None = None) -> Conduct:
    """Every request is answered with this."""

    def conduct(connection: socket.socket, over: threading.Event) -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers]
        while request(connection):
            connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
            if length is not None:
                return

    return conduct


def silent(connection: socket.socket, over: threading.Event) -> None:
    """Connections are taken, and that is all."""
    over.wait()


def dripping(connection: socket.socket, over: threading.Event) -> None:
    """A header that never ends, a byte at a time: each read has something."""
    request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Wait: ")
    while not over.wait(0.05):
        connection.sendall(b".")


def endless(connection: socket.socket, over: threading.Event) -> None:
    """A body without a length that goes on for ever."""
    request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    while not over.is_set():
        connection.sendall(bytes(65536))
