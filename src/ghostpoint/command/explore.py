"""What ``ghostpoint explore`` does: serve the explorer's page to the browser of this machine and
read the files that are dropped on it, or write the page to a file.
"""

from __future__ import annotations

import json
import webbrowser
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ghostpoint.errors import InputError
from ghostpoint.explorer import page, read_saved
from ghostpoint.storage import write_text_atomic

__all__ = ["explore", "server"]

#: of a file that is dropped on the page
MOST_BYTES = 256 << 20
_READS_FILES_AT = "read"
_HTML, _JSON = "text/html; charset=utf-8", "application/json"


def explore(
    path: Path | None,
    *,
    out: Path | None = None,
    port: int = 0,
    open_browser: bool = True,
    say: Callable[[str], object] = print,
) -> None:
    """Show the page, with the runs saved at ``path`` in it, until Ctrl-C; with ``out``, write it
    there instead.

    Parameters
    ----------
    path : path, optional
        As for :func:`ghostpoint.explorer.read_saved`.
    out : path, optional
        File for the page, which needs nothing else; nothing is served then.
    port : int
        Of the loopback interface; 0 for any that is free.
    open_browser : bool
    say : callable
        Gets each line for the person who waits.

    Raises
    ------
    ValueError
        If nothing at ``path`` can be read.
    OSError
        If the port is taken or ``out`` cannot be written.
    """
    saved = None if path is None else read_saved(path)
    if out is not None:
        say(f"Page: {write_text_atomic(page(saved), out)}")
        return
    with server(page(saved, reads_files_at=_READS_FILES_AT), port) as serving:
        address = f"http://127.0.0.1:{serving.server_address[1]}/"
        say(f"Explorer: {address} (Ctrl-C ends it)")
        if open_browser:
            webbrowser.open(address)
        try:
            serving.serve_forever()
        except KeyboardInterrupt:
            say("Ended.")


def server(text: str, port: int = 0) -> ThreadingHTTPServer:
    """A server of the page ``text`` on the loopback interface.

    It answers requests for the page, and those of the page itself to read a dropped file:
    ``POST /read?name=NAME`` with the file as the body is answered with what
    :func:`ghostpoint.explorer.read_saved` gives, or with ``{"error": TEXT}``. The host that a
    request names must be this machine, and the origin of a file must be the page: neither another
    site nor a name that another site has pointed at this machine is answered.
    """
    body = text.encode("utf-8")
    one_at_a_time = Lock()  # reading a run computes its slow points in all threads there are

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self._names_this_machine():
                self._answer(403, _HTML, b"")
            elif self.path.partition("?")[0] in ("/", "/index.html"):
                self._answer(200, _HTML, body)
            else:
                self._answer(404, _HTML, b"")

        def do_POST(self) -> None:
            address = urlsplit(self.path)
            length = self.headers.get("Content-Length", "")
            if not self._names_this_machine() or self.headers.get("Origin") != f"http://{self.headers['Host']}":
                self._refuse(403, "only the page itself may have a file read")
            elif address.path != f"/{_READS_FILES_AT}":
                self._refuse(404, f"there is nothing at {address.path}")
            elif not length.isdigit():
                self._refuse(411, "the length of the file must be given")
            elif int(length) > MOST_BYTES:
                for taken in range(0, int(length), 1 << 20):  # a browser listens after it has sent all
                    self.rfile.read(min(1 << 20, int(length) - taken))
                self._refuse(413, f"a file dropped here may have {MOST_BYTES >> 20} MB at most")
            else:
                name = parse_qs(address.query).get("name", [""])[0]
                with one_at_a_time:
                    self._read(name, self.rfile.read(int(length)))

        def _read(self, name: str, content: bytes) -> None:
            # the last part of the name alone, which says what kind of file it is
            name = name.replace("\\", "/").rpartition("/")[2].replace("\0", "")[-100:].lstrip(".") or "file"
            with TemporaryDirectory() as folder:
                path = Path(folder) / name
                path.write_bytes(content)
                try:
                    found = json.dumps(read_saved(path), separators=(",", ":"), allow_nan=False)
                except InputError as error:
                    self._refuse(400, str(error).replace(str(path), name))
                except Exception as error:
                    self._refuse(500, f"ghostpoint has a fault, {type(error).__name__}: {error}")
                    raise  # where the command runs, with its traceback
                else:
                    self._answer(200, _JSON, found.encode())

        def _names_this_machine(self) -> bool:
            # by any port, since the page may come through a tunnel
            return urlsplit(f"//{self.headers.get('Host', '')}").hostname in ("127.0.0.1", "localhost")

        def _refuse(self, status: int, error: str) -> None:
            self.close_connection = True  # the file may not have been taken from it
            self._answer(status, _JSON, json.dumps({"error": error}).encode())

        def _answer(self, status: int, kind: str, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)
