"""What a session may be requesting and generating when a response is requested."""

from collections.abc import Callable

from tests.upstream.drive import Drive, Json

OUTSIDE: Json = {"conversation": "none"}
TEXT: Json = {**OUTSIDE, "output_modalities": ["text"]}


def nothing(_: Drive) -> None:
    pass


def requested(drive: Drive) -> None:
    drive.client("response.create")


def requested_outside(drive: Drive) -> None:
    drive.client("response.create", response=OUTSIDE)


def generated(drive: Drive) -> None:
    requested(drive)
    drive.created()


def generated_with_sound(drive: Drive) -> None:
    generated(drive)
    drive.message()
    drive.sound(3000)


def generated_outside(drive: Drive) -> None:
    requested_outside(drive)
    drive.created(conversation_id=None)


def requested_text(drive: Drive) -> None:
    drive.client("response.create", response=TEXT)


def generated_text(drive: Drive) -> None:
    requested_text(drive)
    drive.created(conversation_id=None)


def made_and_sounding(drive: Drive) -> None:
    requested(drive)
    drive.answer(ms=3000)


def cancelled_before_it_began(drive: Drive) -> None:
    requested(drive)
    drive.client("response.cancel")


def cancelled(drive: Drive) -> None:
    generated(drive)
    drive.client("response.cancel")


def cancelled_and_requested(drive: Drive) -> None:
    cancelled(drive)
    requested(drive)


def cancelled_before_it_began_and_requested(drive: Drive) -> None:
    cancelled_before_it_began(drive)
    requested(drive)


def cancelled_twice(drive: Drive) -> None:
    cancelled_and_requested(drive)
    drive.client("response.cancel")


def refuse(drive: Drive) -> None:
    asked = drive.sent("response.create")["event_id"]
    refusal: Json = {"code": "conversation_already_has_active_response", "message": "busy", "event_id": asked}
    drive.provider("error", error=refusal)


def refused_by_the_provider(drive: Drive) -> None:
    requested(drive)
    refuse(drive)


RequestState = Callable[[Drive], None]
FREE: list[RequestState] = [nothing, made_and_sounding, generated_text]
STOPPING: list[RequestState] = [
    cancelled_before_it_began,
    cancelled,
    cancelled_twice,
    requested_outside,
    generated_outside,
]
BUSY: list[RequestState] = [
    requested,
    generated,
    generated_with_sound,
    cancelled_and_requested,
    cancelled_before_it_began_and_requested,
    refused_by_the_provider,
]
