"""A terminal's side of the protocol: what it asks of its server, and what it makes of the answers."""

import base64
import hashlib
import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import httpx

from nestevo_hw import __version__
from nestevo_hw.base.documents import parse_json, plain
from nestevo_hw.base.errors import ConfigError, InputError, NestEvoError, OutputError
from nestevo_hw.base.names import check_name
from nestevo_hw.base.ranges import Range
from nestevo_hw.base.text import one_line
from nestevo_hw.terminals.spool import Spooled
from nestevo_hw.wire.delta import MOST_BYTES, apply_delta
from nestevo_hw.wire.documents import Ask, Estimate, Hello, Offer, Outcome, Refusal, Welcome, too_large

TIMEOUT_S = 30.0
"""Without a byte from the server for so long, it counts as gone."""
MOST_DOCUMENT = 1_000_000
_HOST = re.compile(rb"[\w.:-]+")
_PORTS = Range(0, 65_535)
_LONGEST_URL = 200
"""Characters of an address in a message."""
_BUSY = (408, 425, 429, 500, 502, 503, 504, 507)


class AbsentError(NestEvoError):
    """The server does not answer, or asks to come again later.

    Args:
        message: in one line.
        retry_s: when to come again by the server's word, seconds; None where it said nothing.
    """

    def __init__(self, message: str, retry_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_s = retry_s


class RefusedError(NestEvoError):
    """The server will not do this, however often it is asked.

    Args:
        message: in one line.
        status: of HTTP.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the server is, and who asks."""

    url: str
    name: str
    token: str
    ca: Path | None = None
    """Certificates to trust in place of the system's, PEM."""
    plain_http: bool = False
    """Send the token over a network without TLS."""

    def __post_init__(self) -> None:
        check_name(self.name, "name")
        shown = f"{self.url[:_LONGEST_URL]}..." if len(self.url) > _LONGEST_URL else self.url
        try:
            url = httpx.URL(self.url)
        except httpx.InvalidURL as error:
            raise ConfigError(f"{shown!r} is no address: {error}; give one such as https://server:8650") from error
        if url.scheme not in ("http", "https") or not _HOST.fullmatch(url.raw_host) or (url.port or 0) not in _PORTS:
            raise ConfigError(f"need an address such as https://server:8650, got {shown!r}")
        if url.scheme == "http" and not self.plain_http and url.host not in ("127.0.0.1", "localhost", "::1"):
            raise ConfigError(f"{shown} would carry the token in the open; use https, or --plain-http")


class Link:
    """Requests of one terminal; each either succeeds, or says whether to come again.

    Args:
        address: of the server.
        downloads: folder for what is being fetched; a download that was cut off goes on there.
        transport: in place of a network.
    """

    def __init__(self, address: Address, downloads: Path, transport: httpx.BaseTransport | None = None) -> None:
        self._client = httpx.Client(
            base_url=f"{address.url.rstrip('/')}/terminals/{quote(address.name, safe='')}",
            headers={"authorization": f"Bearer {address.token}"}, timeout=TIMEOUT_S, verify=_trusted(address.ca),
            transport=transport, follow_redirects=False,
        )  # fmt: skip
        self._downloads = downloads
        self._frame_bytes: int | None = None

    def __enter__(self) -> Self:
        """The link itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close connections."""
        self._client.close()

    def hello(self, runs: str | None) -> Welcome:
        """Say what runs here, and hear what there is."""
        welcome = self._tell("/hello", Hello(runs=runs, tool=f"nestevo-hw {__version__}"))
        self._frame_bytes = welcome.frame_bytes
        return welcome

    def ask(self, estimate: Estimate | None) -> Welcome:
        """Ask for evolution."""
        return self._tell("/evolution", Ask(estimate=estimate))

    def outcome(self, outcome: Outcome) -> Welcome:
        """Say what became of a model."""
        return self._tell("/outcome", outcome)

    def send(self, frame: Spooled) -> int:
        """Send a frame; one that the server has already is not sent twice. Returns its size, bytes."""
        picture = frame.path.read_bytes()
        if self._frame_bytes is not None and len(picture) > self._frame_bytes:
            raise RefusedError(too_large(self._frame_bytes), 413)
        digest = base64.b64encode(hashlib.sha256(picture).digest()).decode()
        self._request(
            "PUT", f"/frames/{frame.id}", content=picture, params={"taken_s": f"{frame.taken_s:.6f}"},
            headers={"content-digest": f"sha-256=:{digest}:"},
        )  # fmt: skip
        return len(picture)

    def fetch(self, offer: Offer, old: tuple[str, bytes] | None) -> tuple[bytes, bytes]:
        """A model and its manifest; as differences from an `old` version and its bytes where the server has them.

        Raises:
            InputError: what came is not what was offered.
        """
        base = f"/models/{offer.version}"
        manifest = self._request("GET", f"{base}/manifest.json").content
        model = None if old is None else self._by_delta(base, offer, *old)
        if model is None:
            model = self._download(f"{base}/model.onnx", {}, offer.version, offer.file_bytes)
        if hashlib.sha256(model).hexdigest() != offer.version:
            raise InputError("the model is not what its digest says; it is fetched again")
        return model, manifest

    def _by_delta(self, base: str, offer: Offer, version: str, old: bytes) -> bytes | None:
        """The model made of an old one; None where it has to be fetched whole."""
        try:
            package = self._download(f"{base}/delta", {"old": version}, f"{version}-{offer.version}", offer.file_bytes)
            return apply_delta(old, package)
        except RefusedError as error:
            if error.status != 404:
                raise
        except InputError:
            pass
        return None

    def _download(self, path: str, params: dict[str, str], tag: str, most: int) -> bytes:
        """A file, on from where an earlier try was cut off; `tag` names it for ever."""
        partial = self._downloads / f"{tag}.part"
        there = partial.stat().st_size if partial.exists() else 0
        headers = {"range": f"bytes={there}-", "if-range": f'"{tag}"'} if there else {}
        try:
            self._downloads.mkdir(parents=True, exist_ok=True)
            with self._client.stream("GET", path, params=params, headers=headers) as answer:
                if answer.status_code == 416:  # it is whole already, or nonsense
                    partial.unlink(missing_ok=True)
                    raise AbsentError("a download begins anew", 0.0)
                if answer.status_code not in (200, 206):
                    answer.read()
                    _require(answer)
                with partial.open("ab" if answer.status_code == 206 else "wb") as file:
                    for chunk in answer.iter_bytes():
                        file.write(chunk)
                        if file.tell() > min(most, MOST_BYTES):
                            raise InputError("the server sends more than it said")
        except httpx.HTTPError as error:
            raise AbsentError(f"the server does not answer: {one_line(str(error)) or type(error).__name__}") from error
        except OSError as error:
            raise OutputError.of(partial, error) from error
        content = partial.read_bytes()
        partial.unlink()
        return content

    def _tell(self, path: str, document: Hello | Ask | Outcome) -> Welcome:
        answer = self._request("POST", path, json=plain(document))
        return parse_json(answer.text, Welcome, "the server's answer")

    def _request(self, method: str, path: str, **what: object) -> httpx.Response:
        try:
            answer = self._client.request(method, path, **what)  # type: ignore[arg-type]
        except httpx.HTTPError as error:
            raise AbsentError(f"the server does not answer: {one_line(str(error)) or type(error).__name__}") from error
        _require(answer)
        return answer


def _trusted(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=None if ca is None else str(ca))
    except OSError as error:  # of which those of TLS are
        raise ConfigError(f"cannot read certificates from {ca}: {error.strerror or error}") from error


def _require(answer: httpx.Response) -> None:
    """Refuse an answer that is none."""
    if answer.is_success:
        return
    try:
        refusal = parse_json(answer.text[:MOST_DOCUMENT], Refusal, "the server's answer")
    except InputError:
        refusal = Refusal(error=f"HTTP {answer.status_code}")
    if answer.status_code in _BUSY:
        raise AbsentError(refusal.error, refusal.retry_s)
    raise RefusedError(refusal.error, answer.status_code)
