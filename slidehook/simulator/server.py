"""The simulator for use by other programs: a simulated DPAT with its server in a thread."""

from __future__ import annotations

import ssl
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from slidehook.simulator.dpat import Dpat
from slidehook.simulator.middleware import IaapiMiddleware
from slidehook.simulator.options import Options
from slidehook.simulator.serving import Server
from slidehook.simulator.web import PREFIX, create_app


class Simulator(Dpat):
    """A DPAT that listens; `with Simulator(folder) as sim: ...`, or `start()` and `stop()`.

    `slides` is a folder of slides. `port` 0 selects a free one. Raises FileNotFoundError without the folder,
    OSError when the port is taken. `host` is the address to listen on; `public_host`, if given, is the host name
    by which the apps reach it. With `tls` it serves HTTPS. After a stop and a new start it has the same port and the
    same state.
    """

    def __init__(
        self,
        slides: Path,
        options: Options | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        public_host: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        if not slides.is_dir():
            raise FileNotFoundError(f"{slides} is not a folder")
        options = options or Options()
        super().__init__(slides, options)
        self._host, self._port = host, port
        self._public_host = public_host or {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
        self._tls = tls
        self._stopping = threading.Event()
        self._server: Server | None = None

    @property
    def url(self) -> str:
        """The root URL without a trailing slash; raises RuntimeError before the start."""
        if self._server is None:
            raise RuntimeError("the simulator has not been started")
        host = f"[{self._public_host}]" if ":" in self._public_host else self._public_host
        return f"{'https' if self._tls else 'http'}://{host}:{self._server.port}"

    def start(self) -> Self:
        """Start listening and serving."""
        self._stopping.clear()
        middleware = IaapiMiddleware(
            create_app(self),
            prefix=PREFIX,
            faults=self.fault_list,
            calls=self.call_log,
            headers=self.options.version_headers,
            delay_s=self.options.delay_s,
            stopping=self._stopping,
        )
        self._server = Server(self._host, self._port, middleware, verbose=self.options.verbose, tls=self._tls)
        self._port = self._server.port
        self.callback_url = self.url + PREFIX
        self._server.start()
        return self

    def stop(self) -> None:
        """End all waits and connections, and close the port; does nothing if not started."""
        self._stopping.set()
        if self._server is not None:
            self._server.stop()
            self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
