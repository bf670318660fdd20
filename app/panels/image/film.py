"""Everything that is kept of one run, and which of its steps is being looked at. No Qt: tests fold events in by hand.

Steps are numbered from 1 over the whole batch, as people count them: step k of picture p (from 0) of a run with N
steps a picture is number p * N + k.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import Any

from app.jobs.diffusion import PictureRecord, StepRecord, Txt2Img
from app.protocol.payloads import Image

LENSES = ("xt", "x0", "eps")
MAX_EXACT_BYTES = 64 << 20
SHORT_NAMES = {"linear latent-to-RGB map": "latent2rgb"}  # the name this map has in the field; a tile is narrow


class Film:
    """The kept steps, exact decodings and finished pictures of one run."""

    def __init__(self, job: Txt2Img) -> None:
        self.job = job
        self.start: dict[str, Any] = {}
        self.steps: dict[int, StepRecord] = {}
        self.pictures: dict[int, PictureRecord] = {}
        self.position = 0
        self._exact: OrderedDict[tuple[int, str], Image] = OrderedDict()

    @property
    def total(self) -> int:
        """Steps of the whole run."""
        return self.job.steps * self.job.batch_count

    @property
    def last(self) -> int:
        """Number of the newest step, 0 before the first."""
        return max(self.steps, default=0)

    @property
    def live(self) -> bool:
        """Whether the newest step is the one looked at, so that the view follows the run."""
        return self.position == self.last

    def add(self, record: StepRecord) -> int:
        """Keep a step and return its number; the position follows if it stood at the end."""
        follows, number = self.live, record.picture * self.job.steps + record.index + 1
        self.steps[number] = record
        if follows:
            self.position = number
        return number

    def go(self, number: int) -> int:
        """Look at a step: the nearest there is to ``number``."""
        self.position = min(max(number, 1), self.last) if self.last else 0
        return self.position

    def record(self) -> StepRecord | None:
        """The step looked at."""
        return self.steps.get(self.position)

    def before(self) -> StepRecord | None:
        """The step before it in the same picture, whose prediction a multistep solver remembers."""
        earlier, now = self.steps.get(self.position - 1), self.record()
        return earlier if earlier and now and earlier.picture == now.picture else None

    def picture(self) -> PictureRecord | None:
        """The finished picture that belongs to the step looked at, if it is finished."""
        now = self.record()
        return self.pictures.get(now.picture) if now else None

    # what the three lenses show ------------------------------------------------------------------------------------

    def view(self, lens: str) -> Image | None:
        """The exact decoding of this step if there is one, else the quick one; the step's words are left to the panel."""
        exact = self._exact.get((self.position, lens))
        return exact or self.quick(self.position, lens)

    def quick(self, number: int, lens: str) -> Image | None:
        """The linear picture of a step that came with its record."""
        record = self.steps.get(number)
        if record is None:
            return None
        image = {"xt": record.x_t, "x0": record.x0, "eps": record.eps}[lens]
        return replace(image, label="", decoder=SHORT_NAMES.get(image.decoder, image.decoder))

    def is_exact(self, lens: str) -> bool:
        """Whether this lens shows a decoding by the full VAE."""
        return (self.position, lens) in self._exact

    def keep_exact(self, number: int, lens: str, image: Image) -> None:
        """Keep a decoding by the full VAE, dropping the oldest beyond 64 MiB."""
        self._exact[number, lens] = replace(image, label="")
        while sum(kept.pixels.nbytes for kept in self._exact.values()) > MAX_EXACT_BYTES and len(self._exact) > 1:
            self._exact.popitem(last=False)

    def drop_exact(self, lens: str) -> None:
        """Back to the quick picture of this step."""
        self._exact.pop((self.position, lens), None)

    # time ----------------------------------------------------------------------------------------------------------

    @property
    def sigmas(self) -> list[float]:
        """Noise levels of one picture, steps + 1 of them; empty before the run has said them."""
        return list(self.start.get("sigmas", ()))

    def place_in_picture(self) -> int:
        """The step looked at, counted from 1 within its picture."""
        now = self.record()
        return now.index + 1 if now else 0

    def number_of(self, step: int) -> int:
        """Number over the batch of a step (from 1) of the picture looked at."""
        now = self.record()
        return (now.picture if now else 0) * self.job.steps + step

    def windows(self) -> list[tuple[int, int, str, int]]:
        """For each control that acts: first and last step (from 1), its kind, its place in the list."""
        return control_windows(self.job, self.start.get("controls", ()))


def control_windows(job: Txt2Img, told: Any) -> list[tuple[int, int, str, int]]:
    """Steps (from 1) in which each control acts, from what a run or a check says of the controls."""
    found = []
    for place, (control, words) in enumerate(zip(job.control, told, strict=False)):
        steps = words.get("steps") or ()
        if words.get("active") and len(steps) == 2:
            found.append((steps[0] + 1, steps[1] + 1, control.kind, place))
    return found
