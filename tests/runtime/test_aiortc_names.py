import re
from pathlib import Path

import pytest

from services.runtime import aiortc_names
from services.runtime.aiortc_names import NAMES, VERSIONS, PrivateName, UnsupportedVersionError, User, declares, find
from tests.runtime.aiortc_touches import touched

USERS: dict[User, Path] = {"media": Path("services/media"), "callers": Path("services/callers")}
ADR = Path("docs/adr/0006-our-own-media-path.md")
OF_TESTS = (
    PrivateName("aiortc.RTCDtlsTransport", "_send_data", (), "attacks below SCTP"),
    PrivateName("aiortc.RTCSctpTransport", "_remote_verification_tag", (), "attacks with the right tag"),
    PrivateName("aioice.ice.Connection", "_local_username", (), "an ICE restart"),
)
OURS = {"_transport"}
"""A name of our own legs, too, which tests touch in a module that imports the stack."""


def touched_below(folder: Path) -> set[str]:
    return {name for path in folder.rglob("*.py") for name in touched(path)}


def test_the_installed_stack_is_the_reviewed_version() -> None:
    for user in USERS:
        aiortc_names.check(user)


@pytest.mark.parametrize("user", USERS)
def test_the_table_lists_exactly_the_names_the_code_uses(user: User) -> None:
    assert touched_below(USERS[user]) == {row.name for row in NAMES if user in row.users}


def test_no_other_service_uses_private_names() -> None:
    others = [folder for folder in Path("services").iterdir() if folder.is_dir() and folder not in USERS.values()]
    assert {folder: names for folder in others if (names := touched_below(folder))} == {}


def test_rows_are_unique_and_sorted_by_owner() -> None:
    keys = [(row.owner, row.name) for row in NAMES]
    assert len(set(keys)) == len(keys)
    assert [owner for owner, _ in keys] == sorted((owner for owner, _ in keys), key=[row.owner for row in NAMES].index)


def test_private_names_used_only_by_tests_are_listed_and_exist() -> None:
    owners = {find(row.owner) for row in (*NAMES, *OF_TESTS)}
    theirs = {name for name in touched_below(Path("tests")) if any(declares(owner, name) for owner in owners)}
    assert theirs - OURS - {row.name for row in NAMES} == {row.name for row in OF_TESTS}
    aiortc_names.check("media", names=[PrivateName(row.owner, row.name, ("media",), row.why) for row in OF_TESTS])


def test_the_decision_record_states_the_current_numbers() -> None:
    media, callers = (sum(user in row.users for row in NAMES) for user in USERS)
    stated = re.search(r"(\d+) names for\s+media, (\d+) for the callers", ADR.read_text())
    assert stated is not None
    assert (int(stated[1]), int(stated[2])) == (media, callers)


@pytest.mark.parametrize("package", sorted(VERSIONS))
def test_another_version_stops_the_process_and_is_named(package: str) -> None:
    with pytest.raises(UnsupportedVersionError, match=rf"{package} 9\.9\.9.*needs {re.escape(VERSIONS[package])}"):
        aiortc_names.check("media", versions={**VERSIONS, package: "9.9.9"})


@pytest.mark.parametrize("owner", ["aiortc.RTCDtlsTransport", "aiortc.RTCGone", "aiortc.gone", "aiortc"])
def test_a_missing_name_is_reported(owner: str) -> None:
    row = PrivateName(owner, "_gone", ("callers",), "")
    with pytest.raises(UnsupportedVersionError, match=rf"{VERSIONS['aiortc']}: {re.escape(owner)}\._gone does not"):
        aiortc_names.check("callers", names=[row])
    aiortc_names.check("media", names=[row])


def test_fields_that_only_methods_set_are_found() -> None:
    class Base:
        def __init__(self) -> None:
            self._field = 1

    class Derived(Base):
        limit = 2

    assert all(declares(Derived, name) for name in ("_field", "limit", "__init__"))
    assert not declares(Derived, "_other")


SOURCE = """
from aiortc import RTCSctpTransport
class Sctp(RTCSctpTransport):
    def __init__(self):
        self._owner = self._cwnd
    async def _receive(self, *parts):
        await super()._receive(*parts)
class Path(Protocol):
    def _supplied(self): ...
    def public(self): ...
class Own:
    def _mine(self, other):
        other._mine()
        other._theirs = 1
def send(): ...
def use(sender):
    sender.send = send
    sender.colour = 1
    sender._RTCRtpSender__started.set()
    return sender.__class__
"""


def test_overridden_inherited_supplied_replaced_and_foreign_names_count(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(SOURCE)
    assert touched(module) == {"_cwnd", "_receive", "_supplied", "_theirs", "send", "_RTCRtpSender__started"}
    module.write_text(SOURCE.replace("from aiortc import RTCSctpTransport", "from ours import RTCSctpTransport"))
    assert touched(module) == set()
