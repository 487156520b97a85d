"""An application for the tests of proxies: tells its name and what it was asked. /slow?2 ends after two seconds.

Usage: program.py PORT NAME
"""

import http.server
import json
import sys
import time


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers every GET with what it saw."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer, at once or as slowly as asked."""
        path, _, seconds = self.path.partition("?")
        body = json.dumps({"name": sys.argv[2], "headers": {k.lower(): v for k, v in self.headers.items()}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if path == "/slow":
            time.sleep(float(seconds))
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        """Keep quiet."""


http.server.ThreadingHTTPServer(("", int(sys.argv[1])), Handler).serve_forever()
