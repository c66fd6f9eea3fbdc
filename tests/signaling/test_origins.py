import pytest

from services.signaling.core.origins import OwnOrigin, allowed, is_own_page

HTTP = OwnOrigin("http", "127.0.0.1:8080")


@pytest.mark.parametrize(
    ("origin", "host", "own"),
    [
        ("http://127.0.0.1:8080", "127.0.0.1:8080", True),
        ("http://localhost:8080", "localhost:8080", True),
        ("http://LOCALHOST:8080", "Localhost:8080", True),
        ("http://[::1]:8080", "[::1]:8080", True),
        ("http://127.0.0.1", "127.0.0.1", True),
        ("http://127.0.0.1", "127.0.0.1:8080", False),
        ("http://127.0.0.1.evil.example", "127.0.0.1.evil.example", False),
        ("http://192.0.2.1", "192.0.2.1", False),
        ("http://", "", False),
        ("null", "null", False),
        (None, "127.0.0.1", False),
    ],
)
def test_the_own_page_over_http_is_on_this_machine_only(origin: str | None, host: str, own: bool) -> None:  # noqa: FBT001 - an example
    assert is_own_page(origin, own=OwnOrigin("http", host)) is own


def test_the_own_page_over_https_may_have_any_name() -> None:
    assert is_own_page("https://gate.example", own=OwnOrigin("https", "gate.example"))
    assert not is_own_page("http://gate.example", own=OwnOrigin("https", "gate.example"))


def test_the_api_takes_listed_origins_and_the_own_page() -> None:
    listed = ("https://app.example",)
    assert allowed("https://app.example", origins=listed, own=HTTP)
    assert allowed("http://127.0.0.1:8080", origins=listed, own=HTTP)
    assert not allowed("null", origins=listed, own=HTTP)
    assert not allowed("https://app.example.evil", origins=listed, own=HTTP)
    assert allowed("null", origins=("*",), own=HTTP)
