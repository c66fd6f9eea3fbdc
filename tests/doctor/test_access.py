from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fastapi import FastAPI, Response
from pydantic import SecretStr

from services.doctor.access import check_certificate, check_key, check_microphone
from services.runtime import clock
from services.runtime.http.server import serve_http

LONG = "k" * 40
KEY = SecretStr(f"sk-{LONG}")


def certificate(
    folder: Path, *names: str, begins_d: float = -1, ends_d: float = 90, password: bytes = b""
) -> tuple[Path, Path]:
    """Create a self-signed certificate for ``names``, valid between the given days from now."""
    private, now = ec.generate_private_key(ec.SECP256R1()), clock.utc_now()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=begins_d))
        .not_valid_after(now + timedelta(days=ends_d))
    )
    if names:
        alternatives = [x509.IPAddress(ip_address(one)) if one[0].isdigit() else x509.DNSName(one) for one in names]
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    cert, key = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(builder.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    lock = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    key.write_bytes(private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock))
    return cert, key


@pytest.mark.parametrize(
    ("names", "days", "host", "state", "expected"),
    [
        (("voice.example.com",), (-1, 90), "voice.example.com", "ok", "until"),
        (("*.example.com",), (-1, 90), "voice.example.com", "ok", "until"),
        (("192.0.2.7",), (-1, 90), "192.0.2.7", "ok", "until"),
        (("voice.example.com",), (-1, 90), "0.0.0.0", "ok", "until"),  # noqa: S104 - an option's value
        (("*.example.com",), (-1, 90), "a.b.example.com", "fail", "not for a.b.example.com"),
        (("voice.example.com",), (-1, 90), "192.0.2.7", "fail", "not for 192.0.2.7"),
        ((), (-1, 90), "voice.example.com", "fail", "names no host"),
        (("voice.example.com",), (-9, -1), "voice.example.com", "fail", "expired"),
        (("voice.example.com",), (1, 90), "voice.example.com", "fail", "valid only from"),
        (("voice.example.com",), (-1, 13), "voice.example.com", "warn", "expires on"),
    ],
)
def test_a_certificate_is_judged_as_a_browser_would(
    names: tuple[str, ...], days: tuple[float, float], host: str, state: str, expected: str, tmp_path: Path
) -> None:
    cert, key = certificate(tmp_path, *names, begins_d=days[0], ends_d=days[1])
    finding = check_certificate(cert, key, host)
    assert finding.state == state
    assert expected in finding.found
    assert bool(finding.mend) is (state != "ok")


def test_files_that_do_not_belong_together_are_told(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    cert, _ = certificate(tmp_path / "a", "x")
    _, other = certificate(tmp_path / "b", "x")
    assert "together" in check_certificate(cert, other, "x").found
    assert check_certificate(cert, cert, "x").state == "fail"
    assert check_certificate(tmp_path / "none", other, "x").state == "fail"
    _, locked = certificate(tmp_path / "a", "x", password=b"secret")
    assert "encrypted" in check_certificate(cert, locked, "x").found


def test_without_a_certificate_only_loopback_gets_a_microphone() -> None:
    assert check_certificate(None, None, "127.0.0.1").state == "ok"
    assert check_certificate(None, None, "192.0.2.7").state == "fail"
    assert check_microphone("127.0.0.1", tls=False).state == "ok"
    assert check_microphone("192.0.2.7", tls=True).state == "ok"
    finding = check_microphone("192.0.2.7", tls=False)
    assert (finding.state, "ssh -L" in finding.mend) == ("fail", True)


@pytest.mark.parametrize(("status", "state"), [(200, "ok"), (401, "fail"), (403, "fail"), (404, "warn"), (500, "warn")])
async def test_the_provider_judges_the_key(status: int, state: str) -> None:
    app = FastAPI()
    app.get("/v1/models")(lambda: Response(status_code=status))
    async with serve_http(app, host="127.0.0.1", port=0) as url:
        finding = await check_key(KEY, url.replace("http", "ws") + "/v1/realtime")
    assert finding.state == state
    assert KEY.get_secret_value() not in finding.line()


@pytest.mark.parametrize(
    "key", ['"sk-' + "k" * 40 + '"', "sk-" + "k" * 20 + "\n", "sk- " + "k" * 20, "sk-ü" + "k" * 20, "sk-k"]
)
async def test_a_key_that_was_copied_badly_is_told_and_not_shown(key: str) -> None:
    finding = await check_key(SecretStr(key), "ws://127.0.0.1:9")
    assert finding.state == "fail"
    assert key.strip("\"'\n ") not in finding.line()


async def test_a_provider_that_cannot_be_reached_is_told() -> None:
    assert (await check_key(KEY, "ws://127.0.0.1:9")).state == "fail"
    assert (await check_key(SecretStr(""), None)).state == "ok"
