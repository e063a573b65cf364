"""Cut texts of others, which may be of any length, to what can be shown."""


def cut(text: str, limit: int) -> str:
    """Return a text of bounded length that can be encoded: a file's name need not be UTF-8."""
    text = text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= limit else f"{text[:limit]}…"
