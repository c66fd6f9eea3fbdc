from services.media.core.path import Checked, Credentials, Path
from services.media.core.routes import Address

FIRST, SECOND, THIRD = (Credentials(name, "secret", "theirs") for name in ("one", "two", "three"))
HOME: Address = ("192.0.2.1", 1000)
AWAY: Address = ("192.0.2.1", 2000)
NEWS = tuple[Checked, Address | None]


def a_path(*, selected: Address | None = None) -> Path:
    path = Path()
    path.restart(FIRST)
    path.selected = selected
    return path


def check(
    path: Path, source: Address, used: Credentials = FIRST, *, nominates: bool = False, silent_s: float = 0.0
) -> NEWS:
    return path.checked(used, source, nominates=nominates, silent_s=silent_s), path.selected


def test_a_check_names_both_ufrags() -> None:
    assert FIRST.username == "one:theirs"


def test_the_first_check_opens_the_path() -> None:
    assert check(a_path(), HOME) == (Checked("first"), HOME)


def test_a_check_on_the_path_changes_nothing() -> None:
    assert check(a_path(selected=HOME), HOME, nominates=True) == (Checked(None), HOME)


def test_the_client_is_followed_to_where_it_nominates() -> None:
    assert check(a_path(selected=HOME), AWAY, nominates=True) == (Checked("address"), AWAY)


def test_a_check_from_elsewhere_is_only_a_check_while_the_path_is_alive() -> None:
    assert check(a_path(selected=HOME), AWAY, silent_s=0.9) == (Checked(None), HOME)


def test_a_client_whose_nat_rebinds_is_followed_when_its_old_address_is_silent() -> None:
    assert check(a_path(selected=HOME), AWAY, silent_s=1.0) == (Checked("address"), AWAY)


def test_after_a_restart_the_first_new_check_ends_the_old_credentials() -> None:
    path = a_path(selected=HOME)
    assert path.restart(SECOND) == ()
    assert path.credentials("one") is FIRST
    assert check(path, HOME, FIRST) == (Checked(None), HOME)
    assert check(path, AWAY, SECOND) == (Checked("restart", (FIRST,)), AWAY)
    assert path.credentials("one") is None
    assert path.credentials("two") is SECOND


def test_a_restart_on_the_same_address_is_news_too() -> None:
    path = a_path(selected=HOME)
    path.restart(SECOND)
    assert check(path, HOME, SECOND) == (Checked("restart", (FIRST,)), HOME)


def test_of_restarts_that_were_never_used_only_the_last_counts() -> None:
    path = a_path(selected=HOME)
    path.restart(SECOND)
    assert path.restart(THIRD) == (FIRST,)
    assert path.credentials("two") is SECOND
    assert check(path, AWAY, THIRD) == (Checked("restart", (SECOND,)), AWAY)
