"""Log lines: as text, as JSON, and seldom where they repeat themselves."""

import json
import logging
import sys

from telemetry.logs import SILENCE, Documents, Lines, Seldom


def record(message: str = "it failed", **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("kuik.pull", logging.WARNING, __file__, 1, "%s", (message,), None)
    made.created = 1_769_860_800.25
    vars(made).update(extra)
    return made


def test_text_has_the_moment_in_utc_and_the_level() -> None:
    assert Lines().format(record()) == "2026-01-31T12:00:00.250Z WARNING it failed"


def test_json_has_the_fields_beside_the_message_and_any_traceback() -> None:
    made = record(fields={"image": "quay.io/a", "bytes": 5})
    try:
        raise ValueError("odd")
    except ValueError:
        made.exc_info = sys.exc_info()
    shown = json.loads(Documents().format(made))
    assert "ValueError: odd" in shown.pop("traceback")
    assert shown == {
        "time": "2026-01-31T12:00:00.250Z",
        "level": "warning",
        "logger": "kuik.pull",
        "message": "it failed",
        "image": "quay.io/a",
        "bytes": 5,
    }


def test_what_repeats_itself_is_told_once_a_minute_with_the_number_held_back() -> None:
    now = [0.0]
    seldom = Seldom(lambda: now[0])
    assert [seldom.filter(record(repeats="a")) for _ in range(4)] == [True, False, False, False]
    assert seldom.filter(record(repeats="b"))
    assert seldom.filter(record())
    now[0] = SILENCE
    again = record(repeats="a")
    assert seldom.filter(again)
    assert again.getMessage() == "it failed (3 more times in 60 s)"
