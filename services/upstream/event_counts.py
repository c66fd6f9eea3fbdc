"""Counts what clients are told."""

from services.upstream import metrics
from services.upstream.core.json_shape import Json, fields, text


def count_server_event(event: Json) -> None:
    """Count an event for the client: errors by their code, transcripts by whether they have words."""
    match event["type"]:
        case "error":
            code = text(fields(event, "error"), "code")
            metrics.CLIENT_ERRORS.labels(code if code in metrics.ERROR_CODES else metrics.PROVIDER_CODE).inc()
        case "conversation.item.input_audio_transcription.completed":
            has_words = any(map(str.isalnum, text(event, "transcript")))
            metrics.TRANSCRIPTS.labels("words" if has_words else "nothing").inc()
        case _:
            pass
