"""What ``ghostpoint explore`` does: serve the explorer's page to the browser of this machine, or
write it to a file.
"""

from __future__ import annotations

import webbrowser
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ghostpoint.explorer import page, read_saved
from ghostpoint.storage import write_text_atomic

__all__ = ["explore", "server"]


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
    text = page(None if path is None else read_saved(path))
    if out is not None:
        say(f"Page: {write_text_atomic(text, out)}")
        return
    with server(text, port) as serving:
        address = f"http://127.0.0.1:{serving.server_address[1]}/"
        say(f"Explorer: {address} (Ctrl-C ends it)")
        if open_browser:
            webbrowser.open(address)
        try:
            serving.serve_forever()
        except KeyboardInterrupt:
            say("Ended.")


def server(text: str, port: int = 0) -> ThreadingHTTPServer:
    """A server of the page ``text`` on the loopback interface, which answers nothing else."""
    body = text.encode("utf-8")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path.partition("?")[0] in ("/", "/index.html")
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body) if found else 0))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if found:
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)
