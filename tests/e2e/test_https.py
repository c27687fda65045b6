"""A DPAT whose certificate the hospital itself has signed, from the webhook to the final result."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from tests.e2e.conftest import Dpat, Site
from tests.e2e.test_refusals import sentence


@pytest.fixture
def hospital(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    """What DPAT speaks TLS with, and the file with the certificate of the authority behind it."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "hospital.pem")
    return context, tmp_path / "hospital.pem"


def test_the_sites_bundle_makes_the_whole_way_trusted(
    hospital: tuple[ssl.SSLContext, Path], new_site: Callable[..., Site], new_dpat: Callable[..., Dpat]
) -> None:
    context, bundle = hospital
    site = new_site(dpat_ca_bundle=str(bundle))
    site.start_web()
    site.start_worker()
    dpat = new_dpat(site, tls=context)
    slide_id = dpat.add_slide()
    answer = dpat.create(slide_id)
    assert answer.ok, answer
    assert dpat.callback_url.startswith("https://")
    assert dpat.final(slide_id)["displayResult"] == "ANSWER: 42"


def test_without_it_dpat_is_told_in_one_sentence_and_gets_no_token(
    hospital: tuple[ssl.SSLContext, Path], new_site: Callable[..., Site], new_dpat: Callable[..., Dpat]
) -> None:
    site = new_site()
    site.start_web()
    dpat = new_dpat(site, tls=hospital[0])
    slide_id = dpat.add_slide()
    answer = site.post(dpat.body(slide_id))
    assert answer.status_code == 502
    assert "certificate is not trusted" in sentence(answer)
    assert dpat.calls() == []
    assert site.jobs(slide_id) == []
