"""Values of sources, for templates."""

from collections.abc import Mapping

from secrets_manager.templates import Template, parse


class Missing(Exception):
    """What the caller's lookup raises."""


def render(template: str | Template, values: Mapping[str, str] | None = None, **more: str) -> str:
    """Render with values by `source.key`; those given by a name are keys of the source `s`."""
    known = {**(values or {}), **{f"s.{key}": value for key, value in more.items()}}

    def lookup(source: str, key: str) -> str:
        try:
            return known[f"{source}.{key}"]
        except KeyError:
            raise Missing(f"{source} has no {key}") from None

    return (parse(template) if isinstance(template, str) else template).render(lookup).text


DATABASE = {"db.user": "shop", "db.password": 'p@ss/w"rd', "db.host": "db.example", "db.tls.crt": "PEM"}
