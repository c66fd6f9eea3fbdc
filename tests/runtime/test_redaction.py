import base64
import re
import string
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runtime.telemetry.redaction import Redactor, escape_controls, secrets_in_url

SECRET = "pa/ss word+of?the=provider"  # noqa: S105 - made up


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: sk-proj-abcdefghijklmnop",
        "Incorrect API key provided: sk-proj-****************mnop. You can find",
        "key mysec**********mnop is wrong",
        "ek_abcdefghijklmnop and hg_abcdefghijklmnop",
        "gsk_abcdefghijklmnop",
        "xai-abcdefghijklmnop",
        "AIzaSyAabcdefghijklmnopqrstuvwxyz",
        "AKIAABCDEFGHIJKLMNOP",
        "eyJabcdefghi.eyJabcdefghijklmnop.abc-def_mnop",
        "Authorization: Bearer abcmnop",
        "Basic YWJjbW5vcA==mnop",
        "wss://user:mnop@host/v1",
        "a=ice-pwd:mnop",
        '{"api_key": "mnop"}',
        "api-key=mnop&model=x",
        "client_secret: mnop",
        "password = mnop",
    ],
)
def test_what_has_the_form_of_a_key_is_replaced(text: str) -> None:
    shown = Redactor().text(text)
    assert "mnop" not in shown.lower()
    assert "[redacted]" in shown


@pytest.mark.parametrize(
    "text",
    [
        "the provider refused the key: set OPENAI_API_KEY (for `hushgate up`), UPSTREAM_API_KEY or a file",
        "no responders on hg.media.media-0.offer",
        "item_abcdefghijklmnop is gone, as is resp_abcdefghijklmnop of rtc_abcdefghijklmnopqrstuvwxyz",
        "wss://api.example.com:443/v1/realtime?model=gpt-realtime-2.1",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert Redactor([SECRET]).line(text) == text


@pytest.mark.parametrize("form", [SECRET, quote(SECRET, safe=""), base64.b64encode(SECRET.encode()).decode()])
def test_a_known_secret_is_replaced_in_every_form(form: str) -> None:
    assert Redactor([SECRET]).known(f"<{form}>") == "<[redacted]>"


def test_a_secret_that_begins_like_another_is_replaced_whole() -> None:
    assert Redactor(["secret-1", "secret-1-and-more"]).known("secret-1-and-more") == "[redacted]"


def test_short_secrets_are_not_redacted() -> None:
    assert Redactor(["a", ""]).known("a banana") == "a banana"


@given(st.text(), st.text(alphabet=string.ascii_letters + string.digits + "-_", min_size=8), st.text())
def test_a_known_secret_is_removed_everywhere(before: str, secret: str, after: str) -> None:
    assert secret not in Redactor([secret]).known(before + secret + after).replace("[redacted]", "\0")


@given(st.text(alphabet=st.characters(codec=None)))
def test_no_control_character_passes(text: str) -> None:
    shown = escape_controls(text)
    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", shown)
    shown.encode()  # no lone surrogate either


def test_escapes_can_be_read_and_line_ends_kept() -> None:
    assert escape_controls("a\x1b[31mb\r\nc\u202e\x9b") == "a\\x1b[31mb\\r\\nc\\u202e\\x9b"
    assert escape_controls("a\n\tb\r", keep="\n\t") == "a\n\tb\\r"


@pytest.mark.parametrize(
    "text", ["*" * 200_000, "a" * 200_000, "Bearer " * 30_000, "://" + ":" * 200_000, "sk-" * 60_000]
)
@pytest.mark.timeout(20)
def test_hostile_text_is_searched_in_linear_time(text: str) -> None:
    Redactor([SECRET]).line(text)


def test_secrets_in_a_url_are_its_password_and_its_keys() -> None:
    url = "wss://user:p%40ss@host/v1?api-version=2026-01-01&api-key=one&subscription-key=two&model=m"
    assert secrets_in_url(url) == {"p@ss", "one", "two"}
