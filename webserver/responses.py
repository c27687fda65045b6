"""The common parts of all responses: version headers, and errors as one sentence in JSON."""

from __future__ import annotations

import structlog
from flask import Flask, Response, jsonify, request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import HTTPException, UnsupportedMediaType

from slidehook.dpat.errors import DpatError, DpatTimeout
from slidehook.dpat.iaapi.versions import (
    API_VERSION,
    SOFTWARE_HEADER,
    VERSION_HEADER,
    lower_version,
)
from slidehook.errors import BadRequest, CallbackNotAllowed, QueueError, SlidehookError, TooLarge
from slidehook.results.limits import MIB
from slidehook.version import SOFTWARE_VERSION
from webserver.addresses import NO_HOST, has_valid_host, refuse_encoded_slash

STATUS: dict[type[SlidehookError], int] = {
    BadRequest: 400,
    TooLarge: 413,
    CallbackNotAllowed: 403,
    DpatTimeout: 504,
    DpatError: 502,
    QueueError: 503,
    SlidehookError: 500,
}
"""The HTTP status of each error, found by its nearest base class in this table."""

HTTP_MESSAGES = {
    404: "There is no such URL; GET / lists the apps.",
    405: "This URL does not support the method.",
    415: "A compressed body is not accepted.",
    500: "slidehook has an internal error; see its log.",
}
"""The messages of generic HTTP errors."""
BAD_CHUNKS = "The chunks of the request's body have invalid sizes or ends."


def status_of(error: SlidehookError) -> int:
    """Return the HTTP status of an error."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def set_up_responses(flask: Flask) -> None:
    """Register the version headers and the error table."""
    flask.before_request(_check_path)
    flask.before_request(_check_encoding)
    flask.after_request(_with_versions)
    flask.register_error_handler(SlidehookError, _refuse)
    flask.register_error_handler(HTTPException, _http_error)
    flask.register_error_handler(ParseException, _bad_chunks)


def _check_path() -> None:
    refuse_encoded_slash(request)


def _check_encoding() -> None:
    """Reject a compressed body, because a small one could expand to a huge one."""
    if request.headers.get("Content-Encoding", "identity").strip().lower() not in {"", "identity"}:
        raise UnsupportedMediaType


def response_version() -> str:
    """Return the IA-API version of the response: the lower of ours and the caller's."""
    return lower_version(API_VERSION, request.headers.get(VERSION_HEADER))


def _with_versions(response: Response) -> Response:
    response.headers[VERSION_HEADER] = response_version()
    response.headers[SOFTWARE_HEADER] = SOFTWARE_VERSION
    return response


def _refuse(error: SlidehookError) -> tuple[Response, int]:
    status = status_of(error)
    text = str(error).rstrip(".") + "."
    callback = {"callback": error.url} if isinstance(error, CallbackNotAllowed) else {}
    structlog.get_logger().warning("request refused", path=request.path, status=status, reason=text, **callback)
    return jsonify(error=text), status


def _bad_chunks(_: ParseException) -> tuple[Response, int]:
    """Reject a body with invalid chunks, which gunicorn detects only when the view reads the body."""
    structlog.get_logger().warning("request refused", path=request.path, status=400, reason=BAD_CHUNKS)
    return jsonify(error=BAD_CHUNKS), 400


def _http_error(error: HTTPException) -> tuple[Response, int, list[tuple[str, str]]]:
    status = error.code or 500
    if status >= 500:
        cause = getattr(error, "original_exception", None) or error
        structlog.get_logger().error("request failed", path=request.path, exc_info=cause)
    allowed = [header for header in error.get_headers() if header[0] == "Allow"]
    message = HTTP_MESSAGES.get(status) or f"{error.description}"
    if status == 400 and not has_valid_host(request):  # Flask rejects some invalid hosts before any route runs
        message = NO_HOST
    if status == 413:
        message = f"The body is larger than {(request.max_content_length or 0) // MIB} MiB."
    return jsonify(error=message), status, allowed
