"""A small server on 127.0.0.1 that speaks the Gemini REST protocol, with faults on request."""

import base64
import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

GOOD = "cat & (foreground) bright, warm & (background) dim, cool"


def says(text: str, finish: str = "STOP") -> dict:
    content = {"role": "model", "parts": [{"text": text}] if text else []}
    return {"candidates": [{"content": content, "finishReason": finish, "index": 0}]}


def error(code: int, status: str, message: str) -> dict:
    return {"error": {"code": code, "message": message, "status": status}}


# What a reply may be: JSON for 200, (status, JSON or text), or a word for what the line does.
Reply = dict | tuple[int, dict | str] | tuple[int, dict | str, dict[str, str]] | str


class GeminiServer:
    """Answers ``replies`` one after the other, then ``GOOD``; or whatever ``respond(request)`` returns."""

    def __init__(self, *replies: Reply, respond: Callable[[dict], Reply] | None = None) -> None:
        self.replies = list(replies)
        self.respond = respond
        self.requests: list[dict] = []
        self.described: Counter[str] = Counter()
        self.busy = self.most_busy = 0
        self._lock = threading.Lock()

    def __enter__(self) -> "GeminiServer":
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.handle(self)

            def log_message(self, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *args: object) -> None:
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        request = {
            "path": handler.path,
            "key": handler.headers.get("x-goog-api-key"),
            "body": json.loads(body),
            "time": time.monotonic(),
        }
        with self._lock:
            self.requests.append(request)
            self.busy += 1
            self.most_busy = max(self.most_busy, self.busy)
            reply = None if self.respond else (self.replies.pop(0) if self.replies else says(GOOD))
        try:
            self.send(handler, self.respond(request) if reply is None else reply, request)
        finally:
            with self._lock:
                self.busy -= 1

    def send(self, handler: BaseHTTPRequestHandler, reply: Reply, request: dict) -> None:
        if reply == "hang":
            time.sleep(1.0)
            return
        if reply == "drop":
            handler.connection.close()
            return
        status, content, headers = 200, reply, {}
        if isinstance(reply, tuple):
            status, content, headers = (*reply, {})[:3]
        data = (content if isinstance(content, str) else json.dumps(content)).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "text/html" if isinstance(content, str) else "application/json")
        handler.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(data)
        if status == 200 and isinstance(content, dict) and content.get("candidates"):
            with self._lock:
                self.described[fingerprint(request)] += 1


def pictures(request: dict) -> list[bytes]:
    """Return the pictures of a request, in order."""
    found = []
    for part in request["body"]["contents"][0]["parts"]:
        data = part.get("inlineData") or part.get("inline_data")
        if data:
            found.append(base64.b64decode(data["data"].replace("-", "+").replace("_", "/")))
    return found


def text(request: dict) -> str:
    """Return the prompt of a request."""
    return "".join(part.get("text", "") for part in request["body"]["contents"][0]["parts"])


def fingerprint(request: dict) -> str:
    """Tell images apart."""
    return hashlib.sha256(b"".join(pictures(request))).hexdigest()
