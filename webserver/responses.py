"""What every answer has in common: the version headers, and errors as one clear sentence in JSON."""

from __future__ import annotations

import structlog
from flask import Flask, Response, jsonify, request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import HTTPException, UnsupportedMediaType

from slidehook.dpat.errors import DpatError, DpatTimeout
from slidehook.dpat.iaapi.versions import (
    API_VERSION,
    SOFTWARE_HEADER,
    SOFTWARE_VERSION,
    VERSION_HEADER,
    lower_version,
)
from slidehook.errors import BadRequest, CallbackNotAllowed, QueueError, SlidehookError, TooLarge
from slidehook.results.limits import MIB
from webserver.addresses import NO_HOST, names_host, refuse_encoded_slash

STATUS: dict[type[SlidehookError], int] = {
    BadRequest: 400,
    TooLarge: 413,
    CallbackNotAllowed: 403,
    DpatTimeout: 504,
    DpatError: 502,
    QueueError: 503,
    SlidehookError: 500,
}
"""The HTTP status of each error: that of its nearest class in this table."""

SENTENCES = {
    404: "There is nothing at this address; GET / lists the apps.",
    405: "This address does not take that method.",
    415: "A compressed body is not read.",
    500: "slidehook has met a fault of its own; its log says more.",
}
"""What is said for HTTP's own errors."""
GARBLED = "The chunks of the request's body have no valid sizes or ends."


def status_of(error: SlidehookError) -> int:
    """Give the HTTP status for an error."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def set_up_answers(flask: Flask) -> None:
    """Register the version headers and the error table."""
    flask.before_request(_check_path)
    flask.before_request(_check_encoding)
    flask.after_request(_with_versions)
    flask.register_error_handler(SlidehookError, _refuse)
    flask.register_error_handler(HTTPException, _http_error)
    flask.register_error_handler(ParseException, _garbled)


def _check_path() -> None:
    refuse_encoded_slash(request)


def _check_encoding() -> None:
    """Refuse what is compressed: so nothing small can become huge here."""
    if request.headers.get("Content-Encoding", "identity").strip().lower() not in {"", "identity"}:
        raise UnsupportedMediaType


def spoken_version() -> str:
    """Give the IA-API's version of the request's answer: the lower of ours and the caller's."""
    return lower_version(API_VERSION, request.headers.get(VERSION_HEADER))


def _with_versions(response: Response) -> Response:
    response.headers[VERSION_HEADER] = spoken_version()
    response.headers[SOFTWARE_HEADER] = SOFTWARE_VERSION
    return response


def _refuse(error: SlidehookError) -> tuple[Response, int]:
    status = status_of(error)
    text = str(error).rstrip(".") + "."
    callback = {"callback": error.url} if isinstance(error, CallbackNotAllowed) else {}
    structlog.get_logger().warning("request refused", path=request.path, status=status, reason=text, **callback)
    return jsonify(error=text), status


def _garbled(_: ParseException) -> tuple[Response, int]:
    """Refuse a body whose chunks gunicorn can't tell apart: it is read only while a request is being answered."""
    structlog.get_logger().warning("request refused", path=request.path, status=400, reason=GARBLED)
    return jsonify(error=GARBLED), 400


def _http_error(error: HTTPException) -> tuple[Response, int, list[tuple[str, str]]]:
    status = error.code or 500
    if status >= 500:
        cause = getattr(error, "original_exception", None) or error
        structlog.get_logger().error("request failed", path=request.path, exc_info=cause)
    allowed = [header for header in error.get_headers() if header[0] == "Allow"]
    sentence = SENTENCES.get(status) or f"{error.description}"
    if status == 400 and not names_host(request):  # Flask refuses some such hosts before any route sees them
        sentence = NO_HOST
    if status == 413:
        sentence = f"The body is larger than {(request.max_content_length or 0) // MIB} MiB."
    return jsonify(error=sentence), status, allowed
