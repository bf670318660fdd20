"""The film without Qt, and the equations of the inspector against the samplers themselves."""

from __future__ import annotations

import pytest
import torch

from app.jobs.diffusion import Control, Txt2Img
from app.jobs.vocabulary import Vocabulary
from app.panels.image.equations import step_equation
from app.panels.image.film import MAX_EXACT_BYTES, Film, control_windows
from app.panels.image.words import Words, unknown_note
from models.diffusion.samplers import SAMPLERS, NoiseSource
from models.playworld.words import unknown_words
from tests.app.image_panel_fakes import flat, start_facts, step_record

JOB = Txt2Img(steps=4, batch_count=2)


def film_of(steps: int) -> Film:
    film = Film(JOB)
    for number in range(steps):
        film.add(step_record(JOB, number % 4, number // 4))
    return film


def test_the_position_follows_until_one_looks_back():
    film = film_of(3)
    assert film.position == 3 and film.live
    film.go(1)
    film.add(step_record(JOB, 3))
    assert film.position == 1 and not film.live
    film.go(99)
    assert film.position == 4 and film.live


def test_steps_are_counted_over_the_batch():
    film = film_of(6)
    assert film.total == 8 and film.last == 6
    assert film.place_in_picture() == 2 and film.number_of(1) == 5


def test_the_step_before_belongs_to_the_same_picture():
    film = film_of(6)
    assert film.before().index == 0
    film.go(5)
    assert film.before() is None


def test_exact_pictures_take_the_place_of_quick_ones_step_by_step():
    film = film_of(2)
    film.keep_exact(2, "x0", flat(9, decoder="full VAE"))
    assert film.view("x0").decoder == "full VAE" and film.is_exact("x0")
    film.go(1)
    assert film.view("x0").decoder == "latent2rgb" and not film.is_exact("x0")
    film.go(2)
    film.drop_exact("x0")
    assert film.view("x0").decoder == "latent2rgb"


def test_exact_pictures_are_bounded_in_bytes():
    film = film_of(4)
    side = 2048  # 12 MiB each
    for number in range(1, 9):
        film.keep_exact(number, "x0", flat(number, side, side))
    assert sum(image.pixels.nbytes for image in film._exact.values()) <= MAX_EXACT_BYTES
    assert (8, "x0") in film._exact


def test_windows_are_steps_from_one_of_the_controls_that_act():
    controls = (Control(image=flat(255), start=0.5), Control(kind="pose"), Control(image=flat(255), enabled=False))
    job = Txt2Img(steps=4, control=controls)
    assert control_windows(job, start_facts(job, 0)["controls"]) == [(3, 4, "canny", 0)]


def test_words_know_nothing_until_told():
    words = Words()
    assert words.unknown("dragon") == []
    words.learn({"things": ["house"]}, ["house", "a"])
    assert words.unknown("A house, a Dragon and a dragon") == ["dragon", "and"]
    assert "5 more" in unknown_note(list("abcdefghi")) and unknown_note([]) == ""


@pytest.mark.parametrize("eta", [0.0, 0.7])
@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "heun"])
def test_the_equation_is_what_the_sampler_does(name, eta):
    """Each step recomputed from the coefficients told: keep x + pull D + fresh z."""
    sigmas = torch.tensor([9.0, 4.0, 1.5, 0.4, 0.0], dtype=torch.float64)
    noise = NoiseSource(5)
    start = torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 9
    options = {"eta": eta} if name == "ddim" else {}
    before = None
    for step in SAMPLERS[name].function(lambda x, sigma: torch.tanh(x / (1 + sigma)), start, sigmas, noise=noise, **options):
        last = before.sigma if before else None
        told = step_equation(name, step.sigma, step.sigma_next, sigma_before=last, eta=eta)
        d = step.x0 if before is None else step.x0 + told.extrapolate * (step.x0 - before.x0)
        z = noise.step(step.i, step.x.shape).double()
        torch.testing.assert_close(told.keep * step.x + told.pull * d + told.fresh * z, step.x_next, rtol=1e-5, atol=1e-6)
        before = step


def test_the_numbers_stand_below_the_formula():
    text = step_equation("euler", 4.0, 1.0).text(11)
    assert text.splitlines()[-1] == "x₁₂ = 0.25 x₁₁ + 0.75 x0"


def test_the_vocabulary_job_tells_what_the_model_itself_knows(drive):
    facts = drive(Vocabulary())[-1].result.facts
    words = Words()
    words.learn(facts["groups"], facts["words"])
    text = "Two people in jeans, beside a dragon and a 3 storey house at sunset?"
    assert words.unknown(text) == unknown_words(text) == ["dragon", "3", "storey"]
    assert "house" in facts["groups"]["things"]
