"""A server on loopback that answers what a script says, byte for byte."""

import json
import socket
import threading
from email.parser import BytesParser


class Script:
    """Serves each connection's requests from a list of answers; the last one repeats."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []  # (path, headers, body)
        self.open_now = self.most_open = 0
        self._lock = threading.Condition()
        self._release = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._release.set()
        self._listener.close()

    def release(self):
        """Let answers that hold go on."""
        self._release.set()

    def wait_for(self, n):
        """Return when n requests are being answered."""
        with self._lock:
            assert self._lock.wait_for(lambda: self.open_now >= n, timeout=30)

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection, connection.makefile("rb") as file:
            while True:
                try:
                    line = file.readline()
                    if not line:
                        return
                    path = line.split()[1].decode()
                    head = b""
                    while (row := file.readline()) not in (b"\r\n", b""):
                        head += row
                    headers = BytesParser().parsebytes(head)
                    body = json.loads(file.read(int(headers["content-length"])))
                    with self._lock:
                        self.requests.append((path, headers, body))
                        answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
                        self.open_now += 1
                        self.most_open = max(self.most_open, self.open_now)
                        self._lock.notify_all()
                    try:
                        if not answer(connection, self._release):
                            return
                    finally:
                        with self._lock:
                            self.open_now -= 1
                except OSError:
                    return


def reply(status=200, body=None, headers=(), *, content_type="application/json"):
    """A whole answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    def send(connection, release):
        head = f"HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\ncontent-length: {len(data)}\r\n"
        head += "".join(f"{k}: {v}\r\n" for k, v in dict(headers).items())
        connection.sendall(head.encode() + b"\r\n" + data)
        return True

    return send


def stream(text, *, every_byte=False, stop_after=None):
    """A chunked stream of events; `stop_after` bytes the connection breaks."""
    data = text.encode()

    def send(connection, release):
        connection.sendall(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        pieces = [data[n : n + 1] for n in range(len(data))] if every_byte else [data]
        if stop_after is not None:
            pieces = [data[:stop_after]]
        for piece in pieces:
            connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        if stop_after is not None:
            return False
        connection.sendall(b"0\r\n\r\n")
        return True

    return send


def hold(first=b""):
    """Sends some bytes, and then nothing until it is released."""

    def send(connection, release):
        connection.sendall(first)
        release.wait(30)
        return False

    return send


def drip(body):
    """Sends one byte of a valid answer whenever a little time has passed, for ever slower."""
    data = json.dumps(body).encode()

    def send(connection, release):
        connection.sendall(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n"
        )
        for n in range(len(data)):
            connection.sendall(data[n : n + 1])
            if release.wait(0.01):
                return False
        release.wait(30)
        return False

    return send


def hang_up(first=b""):
    """Closes the connection after some bytes."""

    def send(connection, release):
        connection.sendall(first)
        return False

    return send


def after_release(answer):
    """Holds an answer back until the test releases it."""

    def send(connection, release):
        release.wait(30)
        return answer(connection, release)

    return send
