"""What does watching cost? A 20-step picture in the window, all previews on, against the bare sampler loop on the same networks.

Both are timed from the beginning of the first UNet call to the end of the VAE's decoding, so that what lies between them counts and
nothing else: previews, records for the film strip, events, the worker's manners, and a window that paints. The plain prompt without
controls is the cheapest picture there is; any other makes the share of watching smaller.
"""

from __future__ import annotations

import argparse
import time

import report
import window

PAUSE_S = 0.5
"""Between two measurements: idle OpenMP threads of the one before may spin for a while."""


class Loop:
    """The bare sampler loop: networks loaded once, text encoded once."""

    def __init__(self, job) -> None:
        import torch

        from app.runners.diffusion_models import family, text_states
        from models import catalog
        from models.diffusion.denoiser import Denoiser
        from models.diffusion.schedule import SCHEDULES

        kind = family(job.model)
        clip, unet, self.vae = (catalog.load(f"{job.model}/{name}") for name in ("clip", "unet", "vae"))
        schedule = kind.schedule()
        self.job, self.sigmas = job, SCHEDULES[job.schedule_used](schedule, job.steps)
        context, null = (text_states(clip, kind, text, torch.device("cpu")) for text in (job.prompt, job.negative_prompt))
        self.denoise = Denoiser(
            unet, schedule, context=context, null_context=null, cfg_scale=job.cfg_scale, prediction=kind.prediction
        )

    def run(self) -> None:
        """One picture, and nobody looks."""
        import torch

        from models.diffusion.samplers import SAMPLERS, NoiseSource

        config, noise = self.vae.config, NoiseSource(self.job.seed)
        with torch.no_grad():
            shape = (1, config.latent_channels, self.job.height // config.downscale, self.job.width // config.downscale)
            x = noise.initial(shape) * float(self.sigmas[0])
            for step in SAMPLERS[self.job.sampler].function(self.denoise, x, self.sigmas, noise=noise):
                x = step.x_next
            self.vae.decode(x / config.scaling_factor)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=10, help="pairs of pictures")
    parser.add_argument("--threads", type=int, help="torch threads (default: torch's own choice)")
    parser.add_argument("--size", type=int, default=128, help="side of the picture in pixels")
    options = parser.parse_args()
    with window.image_panel(options.threads) as panel:
        import torch

        from app.jobs.diffusion import Txt2Img
        from models.diffusion.unet import UNet
        from models.diffusion.vae import AutoencoderKL

        torch.set_num_threads(panel.engine.last_status.threads)
        report.heading("Cost of watching, 20 steps", torch.get_num_threads())
        job = Txt2Img(seed=7, width=options.size, height=options.size)
        panel.put_job(job)
        loop = Loop(job)
        clicked: list[float] = []

        def in_window() -> None:
            begin = time.perf_counter()
            window.make_picture(panel)
            clicked.append(time.perf_counter() - begin)

        def seconds(what) -> float:
            window.let_run(PAUSE_S)
            with report.timed_calls(UNet, "forward") as steps, report.timed_calls(AutoencoderKL, "decode") as decodes:
                what()
            return decodes[-1][1] - steps[0][0]

        seconds(in_window), seconds(loop.run)  # warm up
        clicked.clear()
        watched, bare = report.alternate(lambda: seconds(in_window), lambda: seconds(loop.run), options.repeat)
    print(f"in the window   {report.spread(watched, 's')}")
    print(f"bare loop       {report.spread(bare, 's')}")
    print(f"watching        {report.ratio(watched, bare)}")
    print(f"from the click to the end of the run, saved to the gallery: {report.spread(clicked, 's')}")


if __name__ == "__main__":
    main()
