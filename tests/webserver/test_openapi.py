"""The description of the webserver's routes is correct, and requests generated from it cause no error."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode, checks
from structlog.testing import capture_logs

from slidehook.registry.registry import APP_PATHS, SITE_PATHS
from tests.webserver.site import Site
from tests.webserver.test_fuzz import CALLS

CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
EXAMPLES = 25


@pytest.fixture
def description(site: Site) -> dict[str, Any]:
    answer = site.web.get("/openapi.json")
    assert answer.status_code == 200
    assert isinstance(answer.json, dict)
    return answer.json


def test_every_route_is_described_and_nothing_else(site: Site, description: dict[str, Any]) -> None:
    there = {
        (re.sub(r"<(\w+:)?(\w+)>", r"{\2}", rule.rule), method.lower())
        for rule in site.flask.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert {(path, method) for path, methods in description["paths"].items() for method in methods} == there


def test_the_registry_reserves_every_route(site: Site) -> None:
    there = {rule.rule for rule in site.flask.url_map.iter_rules()}
    routes = ("/apps/tissue-area", "/apps/tagged", "/apps/areas")
    assert there == SITE_PATHS | {route + path for route in routes for path in APP_PATHS}


def test_it_is_an_openapi_3_1_description(description: dict[str, Any]) -> None:
    assert description["openapi"] == "3.1.0"
    for schema in description["components"]["schemas"].values():
        jsonschema_rs.Draft202012Validator({**schema, "components": description["components"]})


@pytest.mark.parametrize("kind", CALLS)
def test_dpats_requests_match_the_description(site: Site, description: dict[str, Any], kind: str) -> None:
    path, changes = CALLS[kind]
    schema = description["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    validator = jsonschema_rs.Draft202012Validator({**schema, "components": description["components"]})
    validator.validate(site.body(**changes))
    assert not validator.is_valid(site.body(**{**changes, "slideId": ""}))


@pytest.mark.parametrize(
    ("path", "answers"), [("/apps/tissue-area", "Registration"), ("/apps/tagged/info", "VersionInfo")]
)
def test_responses_match_the_description(site: Site, description: dict[str, Any], path: str, answers: str) -> None:
    schema = description["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert schema["$ref"].endswith(answers)
    jsonschema_rs.validate({**schema, "components": description["components"]}, site.web.get(path).json)


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("path", ["/apps/areas", "/apps/tissue-area/imagenotification"])
def test_bodies_generated_from_the_description_cause_no_internal_error(
    make_site: Callable[..., Site], path: str, mode: GenerationMode
) -> None:
    site = make_site(dpat_urls="https://dpat.example/v1")
    operation = schemathesis.openapi.from_wsgi("/openapi.json", site.flask)[path]["POST"]

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def knock(case: Case[Any]) -> None:
        if isinstance(case.body, dict) and "applicationId" in case.body:
            case.body["applicationId"] = path.split("/")[2]  # otherwise every request would fail here
        answer = case.call()
        case.validate_response(answer, checks=CHECKS)
        assert answer.status_code in {400, 403}
        assert "Traceback" not in answer.text

    with capture_logs() as logged:
        knock()
    assert {each["log_level"] for each in logged} == {"warning"}
    assert not site.files()


@pytest.mark.parametrize(
    ("method", "path", "allow"), [("DELETE", "/apps/tissue-area", "POST"), ("POST", "/healthz", "GET")]
)
def test_an_unsupported_method_is_answered_with_the_supported_ones(
    site: Site, method: str, path: str, allow: str
) -> None:
    answer = site.web.open(path, method=method)
    assert answer.status_code == 405
    assert allow in answer.headers["Allow"]
