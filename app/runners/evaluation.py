"""Runner of `evaluate-txt2img`: judges first, then the autoencoder, then pictures with and without what was asked for."""

from __future__ import annotations

import random
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from app.jobs.evaluation import EvaluateTxt2Img
from app.protocol.events import Event, Progress, Record
from app.protocol.payloads import Image, Result
from app.runners.diffusion_models import family
from app.worker.context import Ctx
from models.diffusion.denoiser import ControlInput, Denoiser
from models.diffusion.openpose import draw_pose
from models.diffusion.samplers import SAMPLERS, NoiseSource
from models.diffusion.schedule import SCHEDULES
from models.evaluation.txt2img import correct_joints, edge_scores, psnr, stated_facts
from models.playworld.caption import caption
from models.playworld.edges import edges
from models.playworld.labels import LABELS, labels
from models.playworld.render import joints, render
from models.playworld.scene import Scene, sample_scene

SIZE = 128
MODELS = ("vae", "clip", "unet", "control-canny", "control-pose", "facts", "joints")
SHEET_ROWS = 10
Stage = Generator[Event, None, dict]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One scene with everything that may be asked of a picture of it."""

    scene: Scene
    text: str
    facts: tuple
    picture: np.ndarray
    edges: np.ndarray
    joints: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The job with the loaded networks."""

    job: EvaluateTxt2Img
    ctx: Ctx
    nets: dict[str, nn.Module]


def evaluate_txt2img(job: EvaluateTxt2Img, ctx: Ctx) -> Generator[Event, None, Result]:
    """Facts of the result: one block of figures a question, `upper` and `lower` bounds beside each."""
    with ExitStack() as stack:
        nets = {name: stack.enter_context(ctx.zoo.use(f"playworld/{name}")) for name in MODELS}
        bench = Bench(job=job, ctx=ctx, nets=nets)
        cases = [case_of(k, job.split) for k in range(job.scenes)]
        facts: dict = {}
        files: dict = {}
        for name, stage in (("judges", judges), ("autoencoder", autoencoder), ("facts", fact_share), ("canny", canny), ("pose", pose)):
            figures = yield from stage(bench, cases)
            pictures = figures.pop("pictures", None)
            if pictures is not None:
                files[f"{name}.png"] = Image(pixels=pictures, label=f"contact sheet: {name}")
            facts[name] = figures
            yield Record(channel="figures", payload={name: figures})
    return Result(files=files, facts=facts)


def case_of(k: int, split: str) -> Case:
    """Scene k of a split that no training has seen."""
    scene = sample_scene(k, split)
    text, facts = caption(scene, random.Random(f"{split} {k}"))
    picture = render(scene, SIZE)
    return Case(scene=scene, text=text, facts=facts, picture=picture, edges=edges(picture), joints=joints(scene, SIZE))


# The judges themselves


def judges(bench: Bench, cases: list[Case]) -> Stage:
    """Accuracy of the fact classifier over all questions that apply, and PCK of the joint regressor, on true renders."""
    pictures = np.stack([case.picture for case in cases])
    answers = yield from ask(bench, pictures, "judging true renders")
    right = [
        int(answers[name][k].argmax()) == wanted
        for k, case in enumerate(cases)
        for name, wanted in labels(case.scene).items()
        if wanted >= 0
    ]
    chance = np.mean([1 / len(LABELS[name]) for case in cases for name, wanted in labels(case.scene).items() if wanted >= 0])
    found = yield from find_joints(bench, pictures)
    return {
        "fact_accuracy": float(np.mean(right)),
        "fact_chance": float(chance),
        "joint_pck_at_0.1": pck(found, cases),
        "renders": len(cases),
    }


def ask(bench: Bench, pictures: np.ndarray, note: str) -> Generator[Event, None, dict[str, Tensor]]:
    """Answers of the fact classifier for uint8 (N, H, W, 3)."""
    parts: list[dict[str, Tensor]] = []
    for first in range(0, len(pictures), bench.job.batch_size):
        yield Progress(done=first, total=len(pictures), unit="pictures", note=note)
        parts.append(bench.nets["facts"](tensor(bench, pictures[first : first + bench.job.batch_size])))
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def find_joints(bench: Bench, pictures: np.ndarray) -> Generator[Event, None, np.ndarray]:
    """Joints (N, people, 18, 3) in pixels found by the regressor."""
    parts = []
    for first in range(0, len(pictures), bench.job.batch_size):
        yield Progress(done=first, total=len(pictures), unit="pictures", note="finding joints")
        parts.append(bench.nets["joints"](tensor(bench, pictures[first : first + bench.job.batch_size])).float().cpu().numpy())
    return np.concatenate(parts) * np.array([SIZE, SIZE, 1], np.float32)


def pck(found: np.ndarray, cases: list[Case]) -> float:
    """PCK@0.1 over all visible joints of all people."""
    counts = [correct_joints(f, case.joints) for f, case in zip(found, cases, strict=True) if len(case.joints)]
    return sum(right for right, _ in counts) / max(1, sum(total for _, total in counts))


def tensor(bench: Bench, pictures: np.ndarray) -> Tensor:
    weight = next(bench.nets["facts"].parameters())
    return (torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1).to(weight)


# The generators


def autoencoder(bench: Bench, cases: list[Case]) -> Stage:
    """Mean PSNR of held-out renders through the autoencoder (the latent's mean, no noise)."""
    vae, scores, shown = bench.nets["vae"], [], []
    for case in cases:
        yield Progress(done=len(scores), total=len(cases), unit="pictures", note="autoencoding")
        mean, _ = vae.encode(tensor(bench, case.picture[None]))
        shown.append(pixels(vae.decode(mean))[0])
        scores.append(psnr(shown[-1], case.picture))
    rows = [[case.picture, y] for case, y in zip(cases[:SHEET_ROWS], shown, strict=False)]
    return {"psnr_db": float(np.mean(scores)), "worst_db": float(min(scores)), "pictures": sheet(rows)}


def fact_share(bench: Bench, cases: list[Case]) -> Stage:
    """Share of stated facts found: in pictures drawn from the caption, in true renders, in pictures drawn from ""."""
    drawn = yield from draw(bench, cases, "drawing captions", text=True)
    blind = yield from draw(bench, cases, "drawing the empty prompt", text=False)
    out: dict = {}
    for name, pictures in (("share", drawn), ("upper_true_renders", np.stack([c.picture for c in cases])), ("lower_empty_prompt", blind)):
        answers = yield from ask(bench, pictures, "judging")
        verdicts = [
            (fact, ok) for k, case in enumerate(cases) for fact, ok in zip(case.facts, stated_facts(answers, case.facts, k), strict=True)
        ]
        out[name] = float(np.mean([ok for _, ok in verdicts]))
        if name == "share":
            out["by_question"] = by_question(verdicts)
    out["pictures"] = sheet([[case.picture, y, z] for case, y, z in zip(cases[:SHEET_ROWS], drawn, blind, strict=False)])
    return out


def by_question(verdicts: list) -> dict[str, float]:
    """The share for each kind of statement: sky, ground, present, colour, pose ..."""
    groups: dict[str, list[bool]] = {}
    for fact, ok in verdicts:
        name = fact.subject if fact.subject in ("sky", "ground") else fact.attribute
        groups.setdefault(name, []).append(ok)
    return {name: float(np.mean(group)) for name, group in sorted(groups.items())}


def canny(bench: Bench, cases: list[Case]) -> Stage:
    """Edge agreement within 2 px with the given map: with control, without it, and of autoencoded true renders."""
    some = [case for case in cases if case.edges.any()][: len(cases) // 2]
    hints = np.stack([np.repeat(case.edges[..., None], 3, axis=2) for case in some])
    drawn = yield from draw(bench, some, "drawing with edges", text=True, kind="canny", hints=hints)
    free = yield from draw(bench, some, "drawing without edges", text=True)
    rebuilt = pixels(torch.cat([bench.nets["vae"].decode(bench.nets["vae"].encode(tensor(bench, c.picture[None]))[0]) for c in some]))
    out: dict = {}
    for name, pictures in (("control", drawn), ("upper_autoencoded_renders", rebuilt), ("lower_no_control", free)):
        scores = [edge_scores(edges(y), case.edges) for y, case in zip(pictures, some, strict=True)]
        out[name] = {
            "precision": float(np.mean([s.precision for s in scores])),
            "recall": float(np.mean([s.recall for s in scores])),
            "f1": float(np.mean([s.f1 for s in scores])),
        }
    out["pictures"] = sheet([[case.picture, h, y, z] for case, h, y, z in zip(some[:SHEET_ROWS], hints, drawn, free, strict=False)])
    return out


def pose(bench: Bench, cases: list[Case]) -> Stage:
    """PCK@0.1 against the given joints: with control, without it, and of true renders."""
    some = [case for case in cases if len(case.joints)][: len(cases) // 2]
    hints = np.stack([draw_pose(case.joints, SIZE, SIZE) for case in some])
    drawn = yield from draw(bench, some, "drawing with poses", text=True, kind="pose", hints=hints)
    free = yield from draw(bench, some, "drawing without poses", text=True)
    out: dict = {}
    for name, pictures in (("control", drawn), ("upper_true_renders", np.stack([c.picture for c in some])), ("lower_no_control", free)):
        found = yield from find_joints(bench, pictures)
        out[f"pck_{name}"] = pck(found, some)
    out["pictures"] = sheet([[case.picture, h, y, z] for case, h, y, z in zip(some[:SHEET_ROWS], hints, drawn, free, strict=False)])
    return out


def draw(
    bench: Bench, cases: list[Case], note: str, *, text: bool, kind: str = "", hints: np.ndarray | None = None
) -> Generator[Event, None, np.ndarray]:
    """Pictures for all cases, uint8 (N, H, W, 3), in batches; the same seeds whatever is asked."""
    parts = []
    for first in range(0, len(cases), bench.job.batch_size):
        rows = slice(first, first + bench.job.batch_size)
        yield Progress(done=first, total=len(cases), unit="pictures", note=note)
        texts = [case.text if text else "" for case in cases[rows]]
        seeds = [bench.job.seed + first + k for k in range(len(texts))]
        parts.append(draw_batch(bench, texts, seeds, kind, None if hints is None else hints[rows]))
    return np.concatenate(parts)


def draw_batch(bench: Bench, texts: list[str], seeds: list[int], kind: str, hints: np.ndarray | None) -> np.ndarray:
    job, nets, made = bench.job, bench.nets, family("playworld")
    schedule = made.schedule()
    sigmas = SCHEDULES["karras"](schedule, job.steps)
    ids = torch.tensor([made.encode(text, made.max_len) for text in [*texts, ""]], device=bench.ctx.device)
    context = nets["clip"].text(ids)  # (B + 1, T, D)
    controls = []
    if hints is not None:
        hint = torch.from_numpy(hints).permute(0, 3, 1, 2).to(context) / 255
        controls = [ControlInput(net=nets[f"control-{kind}"], hint=hint, weight=job.control_weight)]
    denoise = Denoiser(
        nets["unet"],
        schedule,
        context=context[:-1],
        null_context=context[-1:],
        cfg_scale=job.cfg_scale,
        prediction=made.prediction,
        controls=controls,
        sigmas=sigmas,
        dtype=context.dtype,
    )
    noise = NoiseSource(seeds)
    x = noise.initial((len(texts), 4, SIZE // 8, SIZE // 8)).to(bench.ctx.device) * float(sigmas[0])
    for step in SAMPLERS[job.sampler].function(denoise, x, sigmas, noise=noise):
        bench.ctx.check()
        x = step.x_next
    vae = nets["vae"]
    return pixels(vae.decode((x / vae.config.scaling_factor).to(context.dtype)))


def pixels(x: Tensor) -> np.ndarray:
    """(B, 3, H, W) in [-1, 1] -> uint8 (B, H, W, 3)."""
    return ((x.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def sheet(rows: list[list[np.ndarray]]) -> np.ndarray:
    """Pictures side by side, one case a row."""
    return np.vstack([np.hstack(row) for row in rows])
