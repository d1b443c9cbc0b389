"""Times as the API server writes them: RFC 3339, UTC, in whole seconds. Pure."""

from datetime import UTC, datetime


def format_time(moment: datetime) -> str:
    """As a field or an annotation has it; text of this form sorts as the times do."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> datetime:
    """Read what `format_time` wrote; raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment
