"""Say what is wrong in an object that can't be decoded, in the words of users: msgspec's are those of Python."""

import re

import msgspec

_MISSING = re.compile(r"Object missing required field (.+)")
_TOO_LARGE = re.compile(r"Expected (str|array|object) of length <= (\d+)")
_OTHER_TYPE = re.compile(r"Expected (.+), got (.+)")
_TYPES = {
    "str": "a text",
    "int": "a number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a map",
}


def fault(error: msgspec.MsgspecError) -> str:
    """Return what is wrong in a text that can't be decoded, with its place, in the words of users."""
    what, _, place = str(error).replace("`", "").partition(" - at ")
    where = place.removeprefix("$").removeprefix(".")
    if missing := _MISSING.fullmatch(what):
        return f"{where}.{missing[1]} is missing".removeprefix(".")
    if large := _TOO_LARGE.fullmatch(what):
        if large[1] == "str":
            return f"{where} is too long: write at most {large[2]} characters"
        return f"{where} has too many entries: make several definitions with at most {large[2]}"
    if other := _OTHER_TYPE.fullmatch(what):
        wanted, got = other[1].split(" | "), other[2]
        advice = ": write it in quotes" if "str" in wanted and got in {"int", "float", "bool"} else ""
        types = " or ".join(_TYPES.get(each, each) for each in wanted if each != "null")
        return f"{where or 'it'} must be {types}, and is {_TYPES.get(got, got)}{advice}"
    return str(error)
