"""Publish placements: metering books usage of a call only from a media process that the call was offered to."""

from dataclasses import dataclass

from nats.errors import Error as NatsError

from services.contracts import subjects
from services.contracts.call_history import CallPlaced
from services.contracts.grant import Grant
from services.contracts.ids import CallId, ProcessId
from services.runtime import clock
from services.runtime.bus.client import Bus
from services.runtime.telemetry.logging import get_logger
from services.signaling.errors import unavailable

_PUBLISH_S = 2.0


@dataclass(frozen=True, slots=True)
class PlacementPublisher:
    """Publisher of placements. ``providers``: those of the upstream workers; empty: any."""

    bus: Bus
    providers: tuple[str, ...]

    async def publish(self, call: CallId, grant: Grant, process: ProcessId) -> None:
        """Publish that ``process`` may carry ``call``; await this before sending it the offer.

        Raises:
            ApiError: 503, the placement was not stored, so metering could not book the call's usage.
        """
        model = grant.session.get("model")
        placed = CallPlaced(
            call=call,
            tenant=grant.tenant,
            process=process,
            model=model if isinstance(model, str) else "",
            providers=self.providers,
            max_seconds=grant.limits.max_seconds,
            placed_unix_ms=clock.unix_ms(),
        )
        await self._publish(placed)

    async def _publish(self, placed: CallPlaced) -> None:
        if not self.bus.connected:  # nats-py would wait for a reconnect, and so would the caller
            return  # the request to the media process fails with the reason
        headers = {"Nats-Msg-Id": f"{placed.call}-{placed.process}"}
        try:
            await self.bus.jetstream.publish(
                subjects.PLACED,
                placed.encode(),
                timeout=_PUBLISH_S,
                stream=subjects.PLACED_STREAM,
                headers=headers,
            )
        except (NatsError, TimeoutError) as exc:
            get_logger().error("placement_not_recorded", call_id=placed.call, reason=type(exc).__name__)
            raise unavailable(
                "The call cannot be metered, so it is not placed. Check that hushgate metering has been started "
                "and that its NATS server has free storage.",
                "not_metered",
            ) from exc
