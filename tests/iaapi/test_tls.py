"""HTTPS with the test's own certificates: trusted if configured, else refused with one sentence."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme

from slidehook.dpat.errors import DpatRefused, DpatUnavailable
from slidehook.dpat.iaapi.client import DpatClient, DpatServer
from slidehook.dpat.iaapi.download import save_files
from slidehook.settings import Settings
from slidehook.simulator.options import Options
from slidehook.simulator.server import Simulator

SENTENCE = r"^DPAT's certificate is not trusted here \(.+\): see SLIDEHOOK_DPAT_CA_BUNDLE\.$"


@pytest.fixture(scope="module")
def hospital() -> trustme.CA:
    """The authority that signs the hospital's certificates."""
    return trustme.CA()


@pytest.fixture
def start(sample_slides: Path) -> Iterator[Callable[[trustme.LeafCert], Simulator]]:
    """Start simulators with a certificate."""
    with ExitStack() as stack:

        def start(certificate: trustme.LeafCert) -> Simulator:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            certificate.configure_cert(context)
            return stack.enter_context(Simulator(sample_slides, Options(strict=True), tls=context))

        yield start


@pytest.fixture
def bundle(hospital: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "hospital.pem"
    hospital.cert_pem.write_to_path(path)
    return path


def client(sim: Simulator, bundle: Path | None = None) -> DpatClient:
    settings = Settings(_env_file=None, dpat_ca_bundle=bundle)
    return DpatServer(sim.callback_url, settings).client(sim.token(), tries=3)


def test_the_hospitals_own_certificate_is_trusted_through_the_bundle(
    start: Callable[[trustme.LeafCert], Simulator], hospital: trustme.CA, bundle: Path, tmp_path: Path
) -> None:
    sim = start(hospital.issue_cert("127.0.0.1"))
    assert sim.callback_url.startswith("https://")
    api = client(sim, bundle)
    assert api.slide_info("immuno").id == "immuno"
    with api.files("immuno") as response:
        (path,) = save_files(response, tmp_path, lambda *_: None)
    assert path.read_bytes() == (sim.folder.folder / "immuno.tiff").read_bytes()


def test_without_the_bundle_it_is_refused_with_one_sentence(
    start: Callable[[trustme.LeafCert], Simulator], hospital: trustme.CA
) -> None:
    sim = start(hospital.issue_cert("127.0.0.1"))
    with pytest.raises(DpatRefused, match=SENTENCE):
        client(sim).info()
    assert sim.calls() == []


def test_a_certificate_for_another_host_is_refused(
    start: Callable[[trustme.LeafCert], Simulator], hospital: trustme.CA, bundle: Path
) -> None:
    sim = start(hospital.issue_cert("another.example"))
    with pytest.raises(DpatRefused, match="IP address mismatch"):
        client(sim, bundle).info()


def test_a_certificate_of_another_authority_is_refused(
    start: Callable[[trustme.LeafCert], Simulator], bundle: Path
) -> None:
    sim = start(trustme.CA().issue_cert("127.0.0.1"))
    with pytest.raises(DpatRefused, match=SENTENCE):
        client(sim, bundle).info()


def test_an_unavailable_server_is_not_a_certificate_problem(
    start: Callable[[trustme.LeafCert], Simulator], hospital: trustme.CA, bundle: Path
) -> None:
    sim = start(hospital.issue_cert("127.0.0.1"))
    api = client(sim, bundle)
    api.info()
    sim.stop()
    with pytest.raises(DpatUnavailable, match="can't be reached"):
        api.info()


def test_a_missing_bundle_is_reported(
    start: Callable[[trustme.LeafCert], Simulator], hospital: trustme.CA, bundle: Path
) -> None:
    sim = start(hospital.issue_cert("127.0.0.1"))
    api = client(sim, bundle)
    bundle.unlink()
    with pytest.raises(DpatRefused, match="SLIDEHOOK_DPAT_CA_BUNDLE can't be read"):
        api.info()
