"""What terminals and people can ask of a server over HTTP; /docs describes it (OpenAPI)."""

import base64
import binascii
import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from nestevo_hw import __version__
from nestevo_hw.base.documents import plain
from nestevo_hw.base.errors import ConfigError, InputError, OutputError
from nestevo_hw.base.names import check_name
from nestevo_hw.base.text import one_line
from nestevo_hw.models.onnx.manifest import MANIFEST, MODEL
from nestevo_hw.server.inboxes import ConflictError, DamagedError, FullDiskError, Inboxes, Sent
from nestevo_hw.server.limits import Allowances, LimitError, Strangers, refused
from nestevo_hw.server.shelf import Shelf
from nestevo_hw.server.status import ServerStatus
from nestevo_hw.server.store import Store
from nestevo_hw.server.tokens import VIEWER, Tokens
from nestevo_hw.wire.documents import Ask, Hello, Offer, Outcome, Refusal, Welcome

FULL_RETRY_S = 60.0
"""When to come again where there is no room, seconds."""
_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):")
REFRESH_S = "15"
"""How often a browser asks for the status page again, seconds."""
_NO_STORE = {"cache-control": "no-store"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """All that answers come from."""

    store: Store
    inboxes: Inboxes
    shelf: Shelf
    tokens: Tokens
    allowances: Allowances
    strangers: Strangers
    names: list[str]
    """Of the remote terminals."""
    wanted_frames: int
    frame_bytes: int
    """Most that a frame may have."""
    status: Callable[[], ServerStatus]
    page: Callable[[], str]
    """The status as HTML."""


def create_app(served: Served) -> FastAPI:
    """The application of a server."""
    app = FastAPI(
        title="nestevo-hw", version=__version__, redoc_url=None,
        responses={code: {"model": Refusal} for code in (401, 422, 429)},
    )  # fmt: skip
    app.include_router(_people(served))
    app.include_router(_terminals(served))
    app.include_router(_models(served))
    app.add_exception_handler(LimitError, _limited)
    app.add_exception_handler(RequestValidationError, _mistaken)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(ClientDisconnect, _gone)
    for kind in (OutputError, sqlite3.OperationalError):
        app.add_exception_handler(kind, _full)
    return app


def _people(served: Served) -> APIRouter:
    router = APIRouter(tags=["people"])

    def viewer(request: Request) -> None:
        if not served.tokens.are_of(VIEWER, _token(request)):
            served.strangers.refuse(_address(request), "give the status token, as bearer or as a password")

    @router.get("/health")
    def health() -> dict[str, str]:
        """The server is there."""
        return {"status": "ok", "version": __version__}

    @router.get("/api/status", dependencies=[Depends(viewer)])
    def status() -> dict[str, Any]:
        """All that the server knows of itself."""
        document: dict[str, Any] = plain(served.status())
        return document

    @router.get("/", response_class=HTMLResponse, dependencies=[Depends(viewer)], include_in_schema=False)
    def page() -> HTMLResponse:
        """The same as a page."""
        policy = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:"}
        return HTMLResponse(served.page(), headers=_NO_STORE | policy | {"refresh": REFRESH_S})

    return router


def _known(served: Served) -> Callable[[str, Request], Iterator[str]]:
    """A dependency: the terminal that asks, within what it may ask."""

    def known(name: str, request: Request) -> Iterator[str]:
        if not served.tokens.are_of(name, _token(request)) or name not in served.names:
            served.strangers.refuse(
                _address(request),
                f"this is not the token of terminal {name!r}; give the one that `serve --new-token` last made for it",
            )
        upload = int(request.headers.get("content-length", 0)) if request.method == "PUT" else 0
        try:
            with served.allowances.one_request(name, upload):
                yield name
        except LimitError:
            served.store.refused(name)
            raise

    return known


def _terminals(served: Served) -> APIRouter:
    router = APIRouter(prefix="/terminals/{name}", tags=["terminals"])
    name_of = Depends(_known(served))

    @router.post("/hello")
    def hello(told: Hello, name: Annotated[str, name_of]) -> Welcome:
        """A terminal is there, and hears what there is for it."""
        served.store.seen(name, tool=told.tool, runs=told.runs)
        return _welcome(served, name)

    @router.put(
        "/frames/{frame}", status_code=201, responses={c: {"model": Refusal} for c in (400, 409, 413, 415, 507)}
    )
    async def put_frame(
        frame: str,
        request: Request,
        name: Annotated[str, name_of],
        content_digest: Annotated[str, Header(description="sha-256=:BASE64:, RFC 9530")],
        taken_s: Annotated[float, Query(ge=0, le=1e12, description="when it was taken, seconds")],
    ) -> Response:
        """Send a frame (JPEG or PNG); 201: kept, 200: it was here already."""
        _require_file_name(frame)
        if "content-length" not in request.headers:
            raise LimitError(411, "say how long the frame is (Content-Length)")
        sent = Sent(id=frame, sha256=_sha256(content_digest), taken_s=taken_s)
        new = await _received(served.inboxes, name, sent, request.stream())
        return Response(status_code=201 if new else 200)

    @router.post("/evolution", status_code=202)
    def ask(told: Ask, name: Annotated[str, name_of]) -> Welcome:
        """Ask for evolution; asked again, the first request stands."""
        served.store.asked(name, told.estimate)
        return _welcome(served, name)

    @router.post("/outcome")
    def outcome(told: Outcome, name: Annotated[str, name_of]) -> Welcome:
        """Say what became of a model: installed, or rolled back and why."""
        if told.version not in {model.version for model in served.store.models(name)}:
            raise LimitError(404, f"terminal {name!r} was never offered such a model")
        served.store.told_outcome(name, told)
        return _welcome(served, name)

    return router


def _models(served: Served) -> APIRouter:
    router = APIRouter(
        prefix="/terminals/{name}/models/{version}", tags=["models"], responses={404: {"model": Refusal}}
    )
    name_of = Depends(_known(served))

    @router.get("/manifest.json")
    def manifest(version: str, request: Request, name: Annotated[str, name_of]) -> Response:
        """What a model takes and gives, and its digest."""
        return _file(served.shelf.file(name, version, MANIFEST), f"{version}-manifest", request)

    @router.get("/model.onnx")
    def model(version: str, request: Request, name: Annotated[str, name_of]) -> Response:
        """A whole model; `Range` goes on with a download that was cut off."""
        return _file(served.shelf.file(name, version, MODEL), version, request)

    @router.get("/delta")
    def delta(version: str, request: Request, name: Annotated[str, name_of], old: str) -> Response:
        """A model as what differs from an `old` one; 404 where that is gone or the whole model hardly larger."""
        return _file(served.shelf.delta(name, old, version), f"{old}-{version}", request)

    return router


def _welcome(served: Served, name: str) -> Welcome:
    terminal = served.store.terminal(name)
    model = next((m for m in served.store.models(name) if m.version == terminal.offered), None)
    offer = None if model is None else Offer(version=model.version, window=model.window, file_bytes=model.bytes)
    evolves = any(w.ended_s is None and name in w.terminals for w in served.store.last_windows(1))
    return Welcome(
        offer=offer, pending=evolves or terminal.asked_s is not None, waiting_frames=terminal.waiting,
        wanted_frames=served.wanted_frames, frame_bytes=served.frame_bytes,
    )  # fmt: skip


async def _received(inboxes: Inboxes, name: str, sent: Sent, chunks: AsyncIterator[bytes]) -> bool:
    try:
        return await inboxes.receive(name, sent, chunks)
    except ConflictError as error:
        raise LimitError(409, str(error)) from error
    except FullDiskError as error:
        raise LimitError(507, str(error), FULL_RETRY_S) from error
    except DamagedError as error:
        raise LimitError(400, str(error)) from error
    except InputError as error:
        raise LimitError(415, one_line(str(error))) from error


def _file(path: Path | None, tag: str, request: Request) -> Response:
    """A file that never changes; its tag is its version."""
    if path is None:
        raise LimitError(404, "not here; ask by hello what there is")
    etag = f'"{tag}"'
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers={"etag": etag})
    return FileResponse(path, headers={"etag": etag, "cache-control": "private, immutable"})


def _address(request: Request) -> str:
    """Where a request comes from."""
    return "" if request.client is None else request.client.host


def _token(request: Request) -> str:
    """Of `Authorization: Bearer TOKEN`, or the password of a browser's `Basic`; empty without one."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode("utf-8", "replace").partition(":")[2]
        except (binascii.Error, ValueError):
            return ""
    return value if scheme.lower() == "bearer" else ""


def _sha256(header: str) -> str:
    found = _DIGEST.fullmatch(header.strip())
    if found is None:
        raise LimitError(422, "Content-Digest: need sha-256=:BASE64:")
    return base64.b64decode(found[1]).hex()


def _require_file_name(frame: str) -> None:
    try:
        check_name(frame, "frame")
    except ConfigError as error:
        raise LimitError(422, one_line(str(error))) from error


async def _limited(_: Request, error: Exception) -> Response:
    if not isinstance(error, LimitError):
        raise error
    answer = refused(error)
    if error.status == 401:
        answer.headers["www-authenticate"] = 'Basic realm="nestevo-hw", Bearer'
    return answer


async def _mistaken(_: Request, error: Exception) -> Response:
    """A request whose parts are not what they should be, in one line."""
    if not isinstance(error, RequestValidationError):
        raise error
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return JSONResponse(plain(Refusal(error=one_line(f"{place}: {first['msg']}"))), 422)


async def _of_http(_: Request, error: Exception) -> Response:
    """What the framework refuses by itself: no such path or method, a body that is no JSON."""
    if not isinstance(error, HTTPException):
        raise error
    return JSONResponse(plain(Refusal(error=one_line(str(error.detail)))), error.status_code, error.headers)


async def _full(_: Request, error: Exception) -> Response:
    """The store cannot be written, as where the disk is full; where it lies is nobody else's business."""
    return refused(
        LimitError(507, one_line(f"the server cannot keep anything: {error.__cause__ or error}"), FULL_RETRY_S)
    )


async def _gone(_: Request, error: Exception) -> Response:  # noqa: ARG001 - as Starlette calls it
    """Nobody is left to hear an answer."""
    return Response(status_code=400)
