"""Requests made from the OpenAPI document, fitting and not: none is answered by a fault of ours."""

from __future__ import annotations

from contextlib import suppress

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

from tests.vq2d.web.asking import box_question
from tests.vq2d.web.browsing import serving

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
EXAMPLES = 12


def operations(document):
    schema = schemathesis.openapi.from_dict(document)
    return [found.ok() for found in schema.get_all_operations()]


@pytest.fixture
def url(memory):
    with serving(memory) as url:
        yield url.rstrip("/")


@pytest.mark.filterwarnings("default")  # of schemathesis itself
def test_no_request_is_answered_by_a_fault_of_ours(url, ids):
    document = httpx2.get(f"{url}/api/openapi.json").json()
    question = box_question(ids)
    known = [*ids.values(), httpx2.post(f"{url}/api/questions", json=question).json()["id"]]
    seen = set()

    def check(operation, mode):
        @given(operation.as_strategy(mode), st.sampled_from([None, *known]))
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        def answered(case, name):
            if name is not None and "name" in (case.path_parameters or {}):
                case.path_parameters["name"] = name
            reply = case.call(base_url=url, timeout=20)
            seen.add((operation.label, reply.status_code))
            assert reply.status_code < 500, f"{case.as_curl_command()}\n{reply.text}"
            if reply.status_code >= 400 and reply.headers["content-type"] != [
                "text/plain; charset=utf-8"
            ]:
                assert reply.json()["error"], case.as_curl_command()

        answered()

    for operation in operations(document):
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
            with suppress(Unsatisfiable):  # a route that takes nothing cannot be asked wrongly
                check(operation, mode)
    good = {label for label, status in seen if status < 300}
    assert good >= {"GET /api/videos", "GET /api/videos/{name}", "GET /api/questions/{name}/events"}


def test_answers_are_as_the_document_says(url, ids):
    schema = schemathesis.openapi.from_dict(httpx2.get(f"{url}/api/openapi.json").json())
    name = httpx2.post(f"{url}/api/questions", json=box_question(ids)).json()["id"]
    httpx2.get(f"{url}/api/questions/{name}/events")
    for path, number in (
        ("/api/videos", None), ("/api/videos/{name}", ids["office"]), ("/api/answers", None),
        ("/api/answers/{name}", name), ("/api/files", None), ("/api/additions", None),
        ("/api/videos/{name}", "nothing"), ("/api/videos/{name}/thumbnail.jpg", ids["office"]),
    ):  # fmt: skip
        case = schema[path]["GET"].Case(path_parameters={"name": number} if number else {})
        case.call_and_validate(base_url=url)
