"""Clips and servers that tests of recordings and cameras share."""

import base64
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

HEIGHT, WIDTH = 96, 128


def picture(index: int) -> NDArray[np.uint8]:
    """(H, W, 3) RGB of a frame with a square that moves; the eight fields of its top row are the bits of its number."""
    frame = np.full((HEIGHT, WIDTH, 3), (30, 60, 90), np.uint8)
    frame[:16] = np.repeat([255 * (index >> bit & 1) for bit in range(8)], WIDTH // 8).astype(np.uint8)[:, None]
    frame[40:56, 10 + index % 100 : 26 + index % 100] = (220, 200, 40)
    return frame


def number(pixels: NDArray[np.uint8]) -> int:
    """Of the frame that `picture` made."""
    fields = pixels[: len(pixels) // 6].mean((0, 2)).reshape(8, -1).mean(1)
    return sum(1 << bit for bit, field in enumerate(fields) if field > 127)


def write_clip(
    path: Path, frames: int, *, fps: int = 10, gop: int = 12, codec: str = "libx264", first: int = 0,
    reordered: bool = False,
) -> Path:  # fmt: skip
    """A video of `picture(first)` and on; what kind of file it is the name's end says."""
    with av.open(str(path), "w") as container:
        track = container.add_stream(codec, rate=Fraction(fps))
        track.width, track.height, track.pix_fmt, track.gop_size = WIDTH, HEIGHT, "yuv420p", gop
        if codec == "libx264":
            track.options = {"crf": "10", "sc_threshold": "0", "preset": "veryfast" if reordered else "ultrafast"}
        if reordered:
            track.options = {**track.options, "bf": "2"}
        for index in range(first, first + frames):
            container.mux(track.encode(av.VideoFrame.from_ndarray(picture(index), format="rgb24")))
        container.mux(track.encode(None))
    return path


def damage(path: Path, out: Path, packets: Sequence[int]) -> list[int]:
    """Write a copy with random bytes in some packets, by their order in the file; returns their frames' indices."""
    with av.open(str(path)) as container:
        found = [(p.pts, p.pos, p.size) for p in container.demux(container.streams.video[0]) if p.size]
    data, random = bytearray(path.read_bytes()), np.random.default_rng(0)
    times = sorted(pts for pts, _, _ in found)
    for place in packets:
        _, start, size = found[place]
        data[start + 8 : start + size] = random.integers(0, 256, size - 8, dtype=np.uint8).tobytes()
    out.write_bytes(data)
    return sorted(times.index(found[place][0]) for place in packets)


@contextmanager
def serving(answer: Callable[[BaseHTTPRequestHandler, int], None]) -> Iterator[str]:
    """Serve HTTP on the loopback; `answer` writes each response, told how many came before it. Yields the address."""
    count = iter(range(1_000_000))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self, next(count))

        def log_message(self, *_: object) -> None:
            pass

    with running(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        yield f"http://127.0.0.1:{port}/camera"


@contextmanager
def running(server: socketserver.TCPServer) -> Iterator[int]:
    """A server of the loopback that answers until the block ends. Yields its port."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def sent(handler: BaseHTTPRequestHandler, body: bytes, *, length: int | None = None) -> None:
    """A response; without a length it is a stream that ends with the connection."""
    handler.send_response(200)
    handler.send_header("Content-Type", "video/mp2t")
    if length is not None:
        handler.send_header("Content-Length", str(length))
    handler.send_header("Connection", "close")
    handler.end_headers()
    handler.wfile.write(body)
    handler.close_connection = True


@contextmanager
def rtsp_camera(body: bytes, login: str) -> Iterator[str]:
    """A camera that sends an MPEG transport stream over RTSP (RFC 2326), as RTP within the connection (RFC 2250).

    Args:
        body: the transport stream; the connection ends with it.
        login: "user:password" that it wants (Basic).

    Yields:
        its address, without the login.
    """
    wanted = f"Basic {base64.b64encode(login.encode()).decode()}"
    description = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:track\r\n"

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while request := self.rfile.readline().decode().split():
                headers = dict(line.split(": ", 1) for line in iter(lambda: self.rfile.readline().decode().strip(), ""))
                if request[0] != "OPTIONS" and headers.get("Authorization") != wanted:
                    self.reply(headers, "401 Unauthorized", 'WWW-Authenticate: Basic realm="camera"')
                elif request[0] == "DESCRIBE":
                    self.reply(headers, "200 OK", "Content-Type: application/sdp", text=description)
                elif request[0] == "SETUP":
                    self.reply(headers, "200 OK", f"Transport: {headers['Transport']}", "Session: 1")
                else:
                    self.reply(headers, "200 OK", "Session: 1", "Public: OPTIONS, DESCRIBE, SETUP, PLAY")
                if request[0] == "PLAY":
                    self.play()
                    return

        def reply(self, headers: dict[str, str], status: str, *lines: str, text: str = "") -> None:
            head = [f"RTSP/1.0 {status}", f"CSeq: {headers['CSeq']}", *lines, f"Content-Length: {len(text)}", "", text]
            self.wfile.write("\r\n".join(head).encode())

        def play(self) -> None:
            size = 7 * 188  # whole packets of the transport stream in each
            for count, start in enumerate(range(0, len(body), size)):
                packet = struct.pack(">BBHII", 0x80, 33, count, 900 * count, 1) + body[start : start + size]
                self.wfile.write(struct.pack(">cBH", b"$", 0, len(packet)) + packet)

    with running(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)) as port:
        yield f"rtsp://127.0.0.1:{port}/camera"
