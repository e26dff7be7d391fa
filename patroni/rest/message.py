"""Requests and answers as records, and the bytes of an answer (contract/rest_api.md §2.2, §2.3)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import lru_cache
from http import HTTPStatus
from urllib.parse import parse_qs

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """The other end of a connection; no proxy header is believed."""

    address: str = ""  # numeric; an IPv4 address mapped into IPv6 is given as IPv4
    is_tls: bool = False
    has_certificate: bool = False  # presented and verified


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A request target, parsed (§2.4)."""

    path: str  # one leading slash, not percent-decoded
    segment: str  # the first one; empty for `/`
    params: Mapping[str, str]  # first non-empty value by name, decoded


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request. A handler that must know more does not exist."""

    method: str
    target: Target
    peer: Peer = Peer()
    authorization: str | None = None
    body: bytes | None = None  # None: no Content-Length


class Kind(Enum):
    """The kinds of answer (§2.3)."""

    STATUS = "S"
    JSON = "J"
    TEXT = "T"
    PAGE = "E"
    METRICS = "M"  # as TEXT, in text/plain

    @property
    def closes(self) -> bool:
        """Return whether the connection ends after it, whatever the request said."""
        return self is Kind.PAGE


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One answer, not yet in bytes."""

    status: int
    kind: Kind
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Framing:
    """How the answer travels."""

    is_http11: bool
    closes: bool  # the connection, after this answer
    is_head: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Banner:
    """Header lines that depend on the moment and the configuration, each ended by CRLF."""

    common: bytes  # Server and Date
    extra: bytes = b""  # configured ones, for kinds J and T


def status_only(status: int) -> Response:
    """Return an answer of kind S."""
    return Response(status=status, kind=Kind.STATUS)


def json_answer(status: int, value: object) -> Response:
    """Return an answer of kind J."""
    return Response(status=status, kind=Kind.JSON, body=dumps(value))


def text(status: int, sentence: str, *headers: tuple[str, str]) -> Response:
    """Return an answer of kind T: one plain sentence."""
    return Response(status=status, kind=Kind.TEXT, body=sentence.encode(), headers=headers)


def page(status: int, detail: str = "") -> Response:
    """Return an answer of kind E: a small page with code and reason."""
    phrase = HTTPStatus(status).phrase
    line = f"{phrase}: {detail}" if detail else phrase
    html = (
        f"<!DOCTYPE html>\n<html>\n<head><title>Error {status}</title></head>\n"
        f"<body><h1>Error {status}</h1><p>{line}.</p></body>\n</html>\n"
    )
    return Response(status=status, kind=Kind.PAGE, body=html.encode())


def dumps(value: object) -> bytes:
    """Return JSON on one line, non-ASCII escaped; what JSON cannot express becomes text (§2.3)."""
    return json.dumps(value, default=_plain).encode()


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence):
        return list(value)
    return value.isoformat() if isinstance(value, datetime) else str(value)


@lru_cache(maxsize=512)  # checks ask for the same few targets again and again
def parse_target(raw: str) -> Target:
    """Split a target into path and parameters (§2.4, rules 1 and 2)."""
    location, _, query = raw.partition("?")
    if "://" in location and not location.startswith("/"):
        location = "/" + location.partition("://")[2].partition("/")[2]
    path = "/" + location.lstrip("/") if location.startswith("/") else location
    values = parse_qs(query) if query else {}
    return Target(
        path=path, segment=path.lstrip("/").partition("/")[0], params={name: value[0] for name, value in values.items()}
    )


_TYPES: Mapping[Kind, bytes] = {
    Kind.STATUS: b"",
    Kind.JSON: b"Content-Type: application/json\r\n",
    Kind.TEXT: b"Content-Type: text/html\r\n",
    Kind.PAGE: b"Content-Type: text/html;charset=utf-8\r\n",
    Kind.METRICS: b"Content-Type: text/plain\r\n",
}


def encode(response: Response, framing: Framing, banner: Banner) -> bytes:
    """Return the bytes of an answer."""
    line = _status_line(response.status, framing.is_http11)
    if response.kind is Kind.STATUS:
        return line + _status_headers(framing) + b"\r\n"
    is_page = response.kind is Kind.PAGE
    closing = b"Connection: close\r\n" if is_page or (framing.is_http11 and framing.closes) else b""
    return b"%b%b%b%b%b%bContent-Length: %d\r\n\r\n%b" % (
        line,
        banner.common,
        _TYPES[response.kind],
        b"" if is_page else banner.extra,
        _header_lines(response.headers) if response.headers else b"",
        closing,
        len(response.body),
        response.body,
    )


def _status_headers(framing: Framing) -> bytes:
    if not framing.is_http11:
        return b""  # a 1.0 client gets the status line alone (§2.3)
    length = b"" if framing.is_head else b"Content-Length: 0\r\n"
    return length + (b"Connection: close\r\n" if framing.closes else b"")


def _header_lines(headers: tuple[tuple[str, str], ...]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in headers).encode("latin-1", "replace")


@lru_cache(maxsize=64)
def _status_line(status: int, is_http11: bool) -> bytes:
    return f"HTTP/1.{int(is_http11)} {status} {HTTPStatus(status).phrase}\r\n".encode()
