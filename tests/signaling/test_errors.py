from typing import get_args

from services.contracts.messages import OfferRefusal
from services.signaling.core.placement import NoPlacement
from services.signaling.errors import PLACEMENT


def test_every_cause_of_a_call_without_a_place_has_words_that_say_what_to_do() -> None:
    refusals = set(get_args(OfferRefusal)) - {"bad_offer"}  # that one is the caller's own
    assert set(PLACEMENT) == refusals | {str(reason) for reason in NoPlacement} | {
        "timeout",
        "no_responders",
        "malformed",
    }
