"""The command line: options from fields, files and result.json, one sentence for bad input."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pytest

from app import cli, cli_output, jobs, runners
from app.cli_options import make_job
from app.protocol import events
from app.protocol.errors import UserError
from app.protocol.job import Job, knob
from app.protocol.payloads import Curve, Image, Result
from tests.worker.fakes import FakeBackend


@dataclass(frozen=True, kw_only=True)
class Control:
    """One of several."""

    kind: str
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Paint(Job):
    """Paint a picture.

    More words that `jobs` does not print.
    """

    prompt: str = knob("a house", help="What to paint.")
    sampler: Literal["ddim", "euler"] = knob("ddim")
    steps: int = knob(2, lo=1, hi=50)
    cfg_scale: float = knob(7.0, lo=1.0, hi=30.0)
    seed: int = knob(-1, lo=-1, hi=99)
    keep_steps: bool = knob(False)
    controls: tuple[Control, ...] = ()
    curve: tuple[float, ...] = ()
    size: tuple[int, int] = (8, 8)
    map: Image | None = None

    @classmethod
    def cli_field(cls, name: str, text: str) -> object:
        """Controls are kind=weight."""
        if name != "controls":
            return NotImplemented
        kind, _, weight = text.partition("=")
        return Control(kind=kind, weight=float(weight))


def paint(job, ctx):
    if job.prompt == "bug":
        raise ZeroDivisionError("oops")
    if job.prompt == "missing":
        raise UserError("The model is missing.", hint="Train it.")
    if job.prompt == "escape":
        return Result(files={"../out.txt": "x"})
    for i in range(job.steps):
        assert not ctx.wants("x0", last=True), "nobody looks on the command line"
        yield events.Step(index=i + 1, total=job.steps)
    pixels = np.full((2, 2, 3), 5, np.uint8)
    files = {
        "image": Image(pixels), "steps/001_x0.png": Image(pixels), "notes": "hello", "table": {"a": np.float32(0.5)},
        "latent": np.arange(3), "sigmas": Curve([0, 1], [2, 3], x_label="step", y_label="sigma"),
    }  # fmt: skip
    return Result(files=files, facts={"seed": ctx.seed, "sigmas": (1.0, 0.0), "psnr": float("inf"), "sha256": Image(pixels).sha256})


@pytest.fixture(autouse=True)
def tables(monkeypatch):
    """One job, one runner, no torch."""
    monkeypatch.setattr(jobs, "JOBS", {"paint": "x:y"})
    monkeypatch.setattr(jobs, "job_class", lambda name, real=jobs.job_class: Paint if name == "paint" else real(name))
    monkeypatch.setattr(runners, "runner", lambda name: paint)
    monkeypatch.setattr(cli, "TorchBackend", lambda threads: FakeBackend())


def run(*words: str) -> int:
    return cli.main(["run", "paint", *words])


def test_options_become_a_job(tmp_path) -> None:
    (tmp_path / "map.png").write_bytes(cli_output.file_content(Image(np.full((3, 4, 3), 9, np.uint8)))[1])
    words = "--steps 7 --sampler=euler --seed -1 --keep-steps --control canny=0.5 --control pose=2 --curve 1,2 --curve 3 --size 4,6".split()
    job = make_job(Paint, [*words, "--prompt", "--a dash", "--map", str(tmp_path / "map.png")])
    assert (job.steps, job.sampler, job.seed, job.keep_steps, job.prompt) == (7, "euler", -1, True, "--a dash")
    assert job.controls == (Control(kind="canny", weight=0.5), Control(kind="pose", weight=2.0))
    assert job.curve == (1.0, 2.0, 3.0) and job.size == (4, 6) and job.map.pixels.shape == (3, 4, 3)
    assert make_job(Paint, ["--no-keep-steps"]) == Paint()


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["--stepz", "3"], "paint has no option --stepz. Did you mean --steps?"),
        (["--steps"], "The option --steps needs a value. whole number 1 to 50"),
        (["--steps", "many"], "--steps must be a whole number, not 'many'."),
        (["--steps", "0"], "Steps is 0, which is out of range. Choose a value from 1 to 50."),
        (["--cfg-scale", "nan"], "Cfg scale is not a finite number. Choose a value from 1.0 to 30.0."),
        (["--sampler", "magic"], "--sampler cannot be 'magic'. Choose one of: ddim, euler."),
        (["--size", "3"], "--size needs 2 values separated by commas, not '3'."),
        (["--map", "nowhere.png"], "There is no file nowhere.png. Check the path."),
        (["house"], "'house' is not an option. Options begin with two dashes; quote texts with spaces."),
        (["--threads", "0"], "--threads must be a whole number of at least 1, not '0'."),
        (["--prompt", "missing"], "The model is missing. Train it."),
    ],
)
def test_bad_input_is_one_sentence_and_code_2(words, sentence, capsys, tmp_path) -> None:
    assert run(*words, "--out", str(tmp_path / "out")) == 2
    told = capsys.readouterr()
    assert told.err.strip() == sentence and told.out == "" and not (tmp_path / "out").exists()


def test_unknown_job_and_command(capsys) -> None:
    assert cli.main(["run", "sculpt"]) == 2
    assert "There is no job named 'sculpt'." in capsys.readouterr().err
    assert cli.main(["rnu"]) == 2
    assert capsys.readouterr().err.startswith("There is no command 'rnu'.")


def test_files_and_result_json(tmp_path, capsys) -> None:
    out = tmp_path / "out"
    assert run("--control", "canny=0.5", "--out", str(out), "--json") == 0
    table = json.loads((out / "result.json").read_text())
    assert json.loads(capsys.readouterr().out) == table
    assert table["job"] == "paint" and table["steps"] == 2 and table["controls"] == [{"kind": "canny", "weight": 0.5}]
    assert table["seed"] >= 0 and table["sigmas"] == [1.0, 0.0] and table["psnr"] is None and table["seconds"] >= 0
    assert table["files"] == ["image.png", "steps/001_x0.png", "notes.txt", "table.json", "latent.npy", "sigmas.csv"]
    assert all((out / name).is_file() for name in table["files"])
    assert np.load(out / "latent.npy").tolist() == [0, 1, 2] and (out / "sigmas.csv").read_text() == "step,sigma\n0.0,2.0\n1.0,3.0\n"
    assert not list(out.rglob("*.part"))


def test_a_bug_leaves_its_traceback_in_a_file(tmp_path, capsys) -> None:
    assert run("--prompt", "bug", "--out", str(tmp_path)) == 1
    told = capsys.readouterr().err
    assert "Traceback" not in told and "error.txt" in told and "oops" in told
    assert "ZeroDivisionError" in (tmp_path / "error.txt").read_text()


def test_nothing_is_written_outside_of_the_folder(tmp_path, capsys) -> None:
    assert run("--prompt", "escape", "--out", str(tmp_path / "out")) == 2
    assert not (tmp_path / "out.txt").exists()


def test_ctrl_c_cancels(tmp_path, capsys, monkeypatch) -> None:
    def interrupted(worker, watch, seconds, real=cli._wait, first=[True]):  # noqa: B006 - remembers the first call
        if first.pop() if first else False:
            raise KeyboardInterrupt
        return real(worker, watch, seconds)

    def slow(job, ctx):
        for i in range(10**9):
            yield events.Step(index=i + 1, total=0)

    monkeypatch.setattr(cli, "_wait", interrupted)
    monkeypatch.setattr(runners, "runner", lambda name: slow)
    assert run("--out", str(tmp_path / "out")) == 130
    assert "Cancelled." in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_lists(capsys) -> None:
    assert cli.main(["jobs"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("paint: Paint a picture.\n") and "--cfg-scale" in text and "number 1.0 to 30.0 [7.0]" in text
    assert cli.main(["--help"]) == 0 and "run JOB" in capsys.readouterr().out
    assert run("--help") == 0 and "What to paint." in capsys.readouterr().out


def test_without_a_display_the_demonstration_runs(tmp_path, monkeypatch, capsys) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.chdir(tmp_path)
    module = type("module", (), {"demo_job": staticmethod(lambda: Paint(seed=3))})
    monkeypatch.setattr(cli.importlib, "import_module", lambda name: module)
    monkeypatch.setattr(jobs, "JOBS", {"txt2img": "x:y"})
    assert cli.main([]) == 0
    assert capsys.readouterr().out.startswith("There is no display,")
    assert (tmp_path / "out" / "image.png").is_file()


@pytest.mark.parametrize(
    "variables, there",
    [
        ({}, False),
        ({"DISPLAY": ":0"}, True),
        ({"WAYLAND_DISPLAY": "w"}, True),
        ({"QT_QPA_PLATFORM": "xcb"}, False),
        ({"QT_QPA_PLATFORM": "offscreen"}, True),
    ],
)
def test_has_display(variables, there, monkeypatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cli.has_display() is there


def test_progress_on_a_terminal_and_elsewhere() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stream, expected in ((Terminal(), True), (io.StringIO(), False)):
        line = cli_output.ProgressLine("paint", stream)
        line.watch(events.Step(index=2, total=2))
        assert ("step 2/2" in stream.getvalue()) is expected
        line.close()
        assert stream.getvalue().endswith("\r") is expected
