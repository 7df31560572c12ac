"""Speed, time left and announcements, by a clock that the tests set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from iicnet_cli.cli.progress import Announcer, Pace, file_bar, progress_bar, status_text
from iicnet_cli.reports import Forecast, Progress, Stage
from tests.helpers import Run, done

OPENING = Progress(Stage.OPENING, 0, None)


class Command:
    """A command that reports to a pace and an announcer."""

    def __init__(self, inputs: int = 1, verifies: bool = False) -> None:
        self.now = 0.0
        self.pace = Pace(inputs, verifies, lambda: self.now)
        self.announcer = Announcer(self.pace, lambda: self.now)

    def report(self, *events: Progress) -> None:
        for event in events:
            self.pace.add(event)
            self.announcer.add(event)

    def embed_group(self, group: int, groups: int | None, seconds: float) -> None:
        """Both stages of one group."""
        if group:
            self.report(Progress(Stage.EMBEDDING, group, groups, group=group))
        for stage in (Stage.EMBEDDING, Stage.ENHANCING):
            for share in (0.5, 1.0):
                self.now += seconds / 4
                self.report(Progress(stage, group + share, groups, group=group))

    def verify_group(self, group: int, groups: int | None, seconds: float) -> None:
        self.now += seconds
        self.report(Progress(Stage.VERIFYING, group + 1, groups, group=group))


def test_the_first_group_tells_the_time_of_the_others_and_of_verifying() -> None:
    command = Command(verifies=True)
    command.report(OPENING)
    command.embed_group(0, 4, 12)
    assert command.pace.seconds_left is None and command.pace.seconds_a_group is None
    command.report(Progress(Stage.EMBEDDING, 1, 4, group=1))
    assert command.pace.seconds_a_group == pytest.approx(12)
    assert command.pace.seconds_left == pytest.approx(3 * 12 + 4 * 3)
    assert command.pace.share == pytest.approx(12 / 60)
    command.now += 5
    assert command.pace.seconds_left == pytest.approx(3 * 12 + 4 * 3 - 5)
    command.now -= 5
    for group in (1, 2, 3):
        command.embed_group(group, 4, 12)
    command.verify_group(0, 4, 6)
    # It takes twice as long as assumed.
    assert command.pace.seconds_a_group == pytest.approx(6)
    assert command.pace.seconds_left == pytest.approx(18)
    assert command.pace.share == pytest.approx(54 / 72)


def test_without_verifying_nothing_is_added() -> None:
    command = Command()
    command.report(OPENING)
    command.embed_group(0, 3, 10)
    command.report(Progress(Stage.EMBEDDING, 1, 3, group=1))
    assert command.pace.seconds_left == pytest.approx(20)


def test_the_number_of_groups_is_learnt_while_embedding() -> None:
    command = Command(verifies=True)
    command.report(OPENING)
    for group in range(3):
        command.embed_group(group, None, 10)
    assert status_text(command.pace) == "2/? groups, 10.0 s a group"
    command.verify_group(0, None, 5)
    assert status_text(command.pace) == "1/3 groups, 5.0 s a group, 0:10 left"


def test_one_group_shows_the_share_of_its_stage() -> None:
    command = Command(verifies=True)
    command.report(OPENING, Progress(Stage.EMBEDDING, 1.0, 1), Progress(Stage.ENHANCING, 0.3, 1))
    assert status_text(command.pace) == "30%"
    assert command.pace.share == pytest.approx(0.3)


def test_restoring_one_group_goes_by_the_share() -> None:
    command = Command()
    command.report(OPENING)
    command.now = 8
    command.report(Progress(Stage.RESTORING, 0.4, 1))
    assert status_text(command.pace) == "40%, 0:12 left"


def test_inputs_to_come_are_taken_to_be_like_the_others() -> None:
    command = Command(inputs=5)
    command.report(OPENING)
    command.embed_group(0, 2, 10)
    command.report(Progress(Stage.EMBEDDING, 1, 2, group=1))
    assert command.pace.seconds_left == pytest.approx(10 + 4 * 20)
    command.embed_group(1, 2, 10)
    command.report(OPENING)
    assert command.pace.number == 2
    assert command.pace.seconds_left == pytest.approx(4 * 20)


def test_a_forecast_tells_the_time_before_the_first_group(
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = Command(verifies=True)
    command.report(OPENING)
    command.now = 3
    command.report(Progress(Stage.OPENING, 0, 45, forecast=Forecast(45, 240, 70)))
    words = "about 4 minutes for 45 groups; --effort 0 takes about 1 minute\n"
    assert capsys.readouterr().err == words
    assert command.pace.number == 1
    assert command.pace.seconds_left == pytest.approx(240)
    command.embed_group(0, 45, 10)
    command.report(Progress(Stage.EMBEDDING, 1, 45, group=1))
    # Said once; measured from the first group on.
    assert capsys.readouterr().err == ""
    assert command.pace.seconds_left == pytest.approx(44 * 10 + 45 * 2.5)


def test_long_work_without_a_forecast_is_said_after_two_groups(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for groups, said in ((6, ""), (7, "about 1 minute for 7 groups\n")):
        command = Command()
        command.report(OPENING)
        for group in range(4):
            command.embed_group(group, groups, 10)
        assert capsys.readouterr().err == said


def test_many_inputs_are_said_after_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    command = Command(inputs=100)
    for _ in range(3):
        command.report(OPENING)
        command.embed_group(0, 1, 3)
    said = "about 5 minutes for 100 inputs, if all are like the first\n"
    assert capsys.readouterr().err == said


def test_a_long_input_of_many_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    command = Command(inputs=2)
    command.report(OPENING, Progress(Stage.OPENING, 0, 1, forecast=Forecast(1, 100)))
    assert capsys.readouterr().err == "input 1 of 2: about 2 minutes\n"


def test_quiet_says_nothing_and_costs_no_forecast(capsys: pytest.CaptureFixture[str]) -> None:
    from iicnet_cli.reports import ignore_progress

    with progress_bar(quiet=True) as listener:
        assert listener is ignore_progress


def test_a_forecast_goes_to_stderr_and_json_stays_clean(
    run: Run, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("iicnet_cli.cli.progress.SAID_SECONDS", 0)
    monkeypatch.setattr("iicnet_cli.forecasting.FORECAST_PIXELS", {False: 0, True: 0})
    arguments = ("embed", clip, "--frames", 10, "-y", "-o", tmp_path / "out.png")
    result = done(run(*arguments, "--json"))
    assert json.loads(result.stdout)["embeddings"] == 2
    assert result.stderr.startswith("about ")
    assert " for 2 groups; --effort 0 takes about " in result.stderr
    assert done(run(*arguments, "-q")).stderr == ""
    without = done(run(*arguments, "--effort", 0)).stderr
    assert without.startswith("about ") and "--effort" not in without


def test_many_files_that_take_long_are_announced_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    times = iter(range(0, 1000, 10))
    with file_bar(20, quiet=False, clock=lambda: float(next(times))) as add:
        for _ in range(6):
            add(None)
    assert capsys.readouterr().err == "about 3 minutes for 20 inputs\n"
    with file_bar(20, quiet=True) as add:
        add(None)
    assert capsys.readouterr().err == ""
