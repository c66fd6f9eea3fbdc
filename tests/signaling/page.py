"""Headers of the demo page's token requests."""

from pydantic import SecretStr

PAGE_SECRET = SecretStr("the-secret-of-this-start")


def page_headers(origin: str) -> dict[str, str]:
    """Return the headers that the page at ``origin`` sends."""
    return {"Origin": origin, "Authorization": f"Bearer {PAGE_SECRET.get_secret_value()}"}
