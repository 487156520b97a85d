"""Certificates that end soon are told with the next command."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import plugin_loading
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

certificates = plugin_loading.load("playbooks/plugins/filter/certificates.py")
NOW = datetime(2026, 11, 22, tzinfo=UTC)


def sign(path: Path, ends_in_days: float) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, path.stem)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=365))
        .not_valid_after(NOW + timedelta(days=ends_in_days))
        .sign(key, hashes.SHA256())
    )
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


@pytest.mark.parametrize(
    ("authority", "host", "told"),
    [
        (3650, 365, []),
        (181, 31, []),
        (3650, 29, ["the certificate registry1 ends on 2026-12-21. Next: make site"]),
        (3650, -1, ["the certificate registry1 ended on 2026-11-21. Next: make site"]),
    ],
)
def test_what_ends_soon_is_told(tmp_path: Path, authority: float, host: float, told: list[str]) -> None:
    sign(tmp_path / "ca.pem", authority)
    sign(tmp_path / "hosts" / "registry1.pem", host)
    assert certificates.certificates_ending(str(tmp_path), NOW) == told


def test_the_authority_is_told_earlier(tmp_path: Path) -> None:
    sign(tmp_path / "ca.pem", 100)
    (line,) = certificates.certificates_ending(str(tmp_path), NOW)
    assert line.startswith("the certificate authority ends on 2027-03-02. Next: make a new one")


def test_an_environment_without_certificates_has_none_that_end(tmp_path: Path) -> None:
    assert certificates.certificates_ending(str(tmp_path), NOW) == []
