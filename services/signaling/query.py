"""The query parameters of each endpoint; any other is refused, because it would have no effect."""

from collections.abc import Mapping

from fastapi import Request

from services.signaling.errors import ApiError

PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "/v1/realtime/calls": ("model",),
    "/v1/whip": ("model",),
    "/v1/usage": ("from", "to"),
}
"""By route; other endpoints of the API have none."""
_CHECKED = ("/v1/", "/demo/")
"""Files and health checks do nothing that a parameter could change."""
_SHOWN_CHARS = 64


async def refuse_unknown_query(request: Request) -> None:
    """Check the query parameters of a request to the API; a dependency of every route.

    Raises:
        ApiError: 400, the endpoint does not have a parameter, or one has two values.
    """
    path = getattr(request.scope.get("route"), "path", "")
    if not path.startswith(_CHECKED):
        return
    known = PARAMETERS.get(path, ())
    for name in request.query_params:
        shown = name[:_SHOWN_CHARS]
        if name not in known:
            here = f"This endpoint has {', '.join(known)}." if known else "This endpoint has none."
            raise ApiError(400, f"Unknown query parameter: '{shown}'. {here}", code="unknown_parameter", param=shown)
        if len({*request.query_params.getlist(name)}) > 1:
            raise ApiError(400, f"The request has several values of '{name}'.", code="invalid_value", param=name)
