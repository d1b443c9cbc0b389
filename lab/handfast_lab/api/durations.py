"""Ages as kubectl prints them. Pure."""

from datetime import UTC, datetime


def age(since: str | None, now: datetime) -> str:
    """`2d3h`, `5m10s`, `42s`; `<unknown>` where no time is given."""
    if not since:
        return "<unknown>"
    began = datetime.fromisoformat(since)
    return short((now - (began if began.tzinfo else began.replace(tzinfo=UTC))).total_seconds())


def short(elapsed_s: float) -> str:
    """As apimachinery's `duration.HumanDuration` has it."""
    seconds = int(elapsed_s)
    if seconds < 0:
        return "<invalid>" if seconds < -1 else "0s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return _two(minutes, "m", seconds % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    return f"{days}d" if days < 730 else _two(days // 365, "y", days % 365, "d")


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}" + (f"{small}{small_unit}" if small else "")
