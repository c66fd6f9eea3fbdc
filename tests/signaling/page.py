"""What the demo page brings to get a token."""

from pydantic import SecretStr

PAGE_SECRET = SecretStr("the-secret-of-this-start")


def page_headers(origin: str) -> dict[str, str]:
    """The headers of the page at ``origin``."""
    return {"Origin": origin, "Authorization": f"Bearer {PAGE_SECRET.get_secret_value()}"}
