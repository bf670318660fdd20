"""`python main.py run plane …` and `run compare-plane …` leave their files and figures, and answer bad input with code 2 and a sentence."""

from __future__ import annotations

import json

import numpy as np
import pytest

from app import cli
from app.cli_options import make_job
from app.jobs.plane import Plane

TINY = "--train-steps 8 --batch-size 64 --samples 50 --map-side 4 --evaluations 4 --threads 1".split()


@pytest.fixture(autouse=True)
def few_points(monkeypatch):
    monkeypatch.setattr("app.runners.plane.HELD_OUT", 200)
    monkeypatch.setattr("app.runners.plane.SCORED", 20)


def test_a_run_leaves_samples_figures_and_a_picture(tmp_path, capsys) -> None:
    words = [*"run plane --method rectified-flow --data moons --solver euler --seed 0".split(), *TINY, "--out", str(tmp_path)]
    assert cli.main(words) == 0
    table = json.loads((tmp_path / "result.json").read_text())
    assert np.load(tmp_path / "samples.npy").shape == (50, 2) and np.load(tmp_path / "held_out.npy").shape == (200, 2)
    assert (table["method"], table["solver"], table["evaluations"], table["projections"]) == ("rectified-flow", "euler", 4, 256)
    assert table["sliced_wasserstein"] > 0 and table["nll_nats"] > 0 and table["seconds"] >= table["train_seconds"] > 0
    assert (tmp_path / "picture.png").read_bytes()[:4] == b"\x89PNG" and "sliced_wasserstein" in capsys.readouterr().out


def test_a_drawn_cloud_may_be_a_file_or_points_one_by_one(tmp_path) -> None:
    file = tmp_path / "cloud.csv"
    file.write_text("".join(f"{i},{i * i % 7}\n" for i in range(25)))
    job = make_job(Plane, ["--points", str(file), "--point", "3,4", "--knob", "round=2"])
    assert len(job.points) == 26 and job.points[24:] == ((24.0, 2.0), (3.0, 4.0)) and job.knobs == ("round=2",)
    assert cli.main(["run", "plane", "--points", str(file), *TINY, "--out", str(tmp_path / "out")]) == 0
    assert json.loads((tmp_path / "out" / "result.json").read_text())["cloud"] == "Drawn cloud"


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["--method", "magic"], "There is no method named 'magic'."),
        (["--data", "magic"], "There is no cloud named 'magic'."),
        (["--solver", "magic"], "Flow matching has no solver named 'magic'."),
        (["--knob", "round=2"], "Flow matching has no knob named 'round'."),
        (["--method", "ddpm", "--schedule", "linear 0.02 0.0001"], "β cannot fall: it begins at 0.02 and ends at 0.0001."),
        (["--between", "1,2"], "A row lies between two latents, not 1."),
        (["--sketch", "1"], "Line 1 of --sketch is no point"),
        (["--point", "1,2", "--point", "2,3"], "A cloud of 2 points is too small."),
        (["--point", "1,nan"], "is not a finite number."),
        (["--point", "1,2,3"], "Line 1 of --point is no point"),
        (["--samples", "0"], "Particles is 0, which is out of range."),
    ],
)
def test_bad_input_ends_with_a_sentence(tmp_path, capsys, words, sentence) -> None:
    assert cli.main(["run", "plane", *words, *TINY[:4], "--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert sentence in said and "Traceback" not in said


def test_the_desk_leaves_its_rows(tmp_path, capsys) -> None:
    words = "--method rectified-flow:euler --method rectified-flow:heun --budgets 2,4 --train-steps 6 --batch-size 64 --samples 40"
    assert cli.main(["run", "compare-plane", *words.split(), "--threads", "1", "--out", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [(row["method"], row["evaluations"]) for row in rows] == [
        ("rectified-flow:euler", 2), ("rectified-flow:euler", 4), ("rectified-flow:heun", 2), ("rectified-flow:heun", 4)
    ]  # fmt: skip
    assert "Order of the distance" in capsys.readouterr().out
