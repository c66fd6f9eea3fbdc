"""Tells metering which media process is asked to carry which call, before it is asked: it books usage of no other."""

from dataclasses import dataclass

from nats.errors import Error as NatsError

from services.contracts import subjects
from services.contracts.grant import Grant
from services.contracts.ids import CallId, ProcessId
from services.contracts.messages import CallPlaced
from services.runtime import clock
from services.runtime.bus import Bus
from services.runtime.logging import get_logger
from services.signaling.errors import unavailable

_PUBLISH_S = 2.0


@dataclass(frozen=True, slots=True)
class Register:
    """``providers``: those that upstream workers serve; none for any."""

    bus: Bus
    providers: tuple[str, ...]

    async def place(self, call: CallId, grant: Grant, process: ProcessId) -> None:
        """Write that ``process`` may carry ``call``.

        Raises:
            ApiError: 503, metering will not hear of it, and could not book what the call uses.
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
        await self._tell(placed)

    async def _tell(self, placed: CallPlaced) -> None:
        if not self.bus.connected:  # the client library would wait for it, and so would the caller
            return  # the request to the media process fails, and says so
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
                "and that its NATS server has room.",
                "not_metered",
            ) from exc
