"""A server that is faster than any client: it answers one prepared slide with sendfile."""

from __future__ import annotations

import os
import socket
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Self

BOUNDARY = "benchmark-frontier"


class FileServer:
    """Serves `/one/…/files` and `/several/…/files`, in a process of its own: all of `files` in either."""

    def __init__(self, files: list[Path]) -> None:
        ours, theirs = get_context("spawn").Pipe()
        self._process = get_context("spawn").Process(target=_serve, args=(files, theirs), daemon=True)
        self._process.start()
        self.url = f"http://127.0.0.1:{ours.recv()}"

    def __enter__(self) -> Self:
        """Return the server, which listens already."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()


def _serve(files: list[Path], ready: Connection) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ready.send(listening.getsockname()[1])
        while True:
            connection, _ = listening.accept()
            with connection:
                while (request := _request(connection)) is not None:
                    _answer(connection, files, several="/several/" in request)


def _request(connection: socket.socket) -> str | None:
    """Read one request's head; None when the client has gone."""
    head = b""
    while b"\r\n\r\n" not in head:
        try:
            more = connection.recv(65536)
        except ConnectionError:
            return None
        if not more:
            return None
        head += more
    return head.decode("latin-1")


def _answer(connection: socket.socket, files: list[Path], *, several: bool) -> None:
    sizes = [path.stat().st_size for path in files]
    disposition = 'Content-Disposition: attachment; filename="{}"\r\n'
    if several:
        kind = f'Content-Type: multipart/related; boundary="{BOUNDARY}"\r\n'
        heads = [f"\r\n--{BOUNDARY}\r\n{disposition.format(path.name)}\r\n".encode() for path in files]
        tail = f"\r\n--{BOUNDARY}--\r\n".encode()
    else:
        kind = "Content-Type: application/octet-stream\r\n" + disposition.format("slide.svs")
        heads, tail = [b""] * len(files), b""
    length = sum(sizes) + sum(map(len, heads)) + len(tail)
    connection.sendall(f"HTTP/1.1 200 OK\r\n{kind}Content-Length: {length}\r\n\r\n".encode())
    for head, path, size in zip(heads, files, sizes, strict=True):
        connection.sendall(head)
        with path.open("rb") as file:
            sent = 0
            while sent < size:
                sent += os.sendfile(connection.fileno(), file.fileno(), sent, size - sent)
    connection.sendall(tail)
