"""The page that a run on a real node writes."""

from tests.e2e.rig.page import Table, Told, page, story


def test_rows_of_a_scenario_that_is_run_several_times_tell_which_is_which() -> None:
    assert story("A pod starts.", {}) == "A pod starts."
    assert story("`{dead}` is dead: a pod starts.", {"dead": "daemonset/x"}) == "`daemonset/x` is dead: a pod starts."
    assert story("A pod starts.", {"by": "tag", "when": "late"}) == "A pod starts (tag, late)."


def test_the_page_has_a_row_for_each_scenario_and_what_was_measured_below() -> None:
    measured = Table("Speed", "On one node.", ("what", "seconds"), [("all", "3")])
    written = page([Told("A pod starts.", "as told", 2.4, 7)], "somebody", "1 MB", [measured])
    assert "\n|---|---|---|---|\n| A pod starts. | as told | 2 | 7 |\n" in written
    assert written.endswith("\n## Speed\n\nOn one node.\n\n| what | seconds |\n|---|---|\n| all | 3 |\n")
