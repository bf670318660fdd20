"""Our Dormand-Prince 5(4) against torchdiffeq's dopri5 on a continuous flow of the plane: evaluations and time at equal tolerance.

Both solve the same field with the divergence beside the points, from noise to data, without and with gradients. `whole_batch` measures the
error as torchdiffeq does; `worst_sample` is our default and promises more. Errors are against a solve in float64 at 1e-10. Times are CPU
times of the process, taken in turn.
"""

from __future__ import annotations

import argparse
import time

import report
import torch
from torch import Tensor
from torchdiffeq import odeint

from models.fitting import FitConfig
from models.flows.cnf import Cnf, beside_zero, gathering, solve
from models.plane.data import cloud
from models.plane.method import method
from models.solvers import NORMS, final


class Counted:
    """A velocity that counts its calls, for either order of the arguments."""

    def __init__(self, flow: Cnf) -> None:
        self.f, self.calls = gathering(flow.field), 0

    def ours(self, state: Tensor, t: float) -> Tensor:
        self.calls += 1
        return self.f(state, t)

    def theirs(self, t: Tensor, state: Tensor) -> Tensor:
        self.calls += 1
        return self.f(state, t)


def trained(updates: int) -> Cnf:
    row = method("cnf")
    net = row.build(0)
    config = FitConfig(steps=updates, lr=row.lr, cooldown=0.5, weight_decay=0.0, ema=0.9, bf16=False)
    for _ in row.train(net, cloud("moons"), config, 256):
        pass
    return net


def our_end(flow: Cnf, z: Tensor, tolerance: float, norm: str) -> tuple[Tensor, int]:
    f = Counted(flow)
    return final(solve(f.ours, beside_zero(z), 1.0, 0.0, tolerance=tolerance, norm=NORMS[norm])).x, f.calls


def their_end(flow: Cnf, z: Tensor, tolerance: float) -> tuple[Tensor, int]:
    f, span = Counted(flow), torch.tensor([1.0, 0.0], dtype=z.dtype)
    return odeint(f.theirs, beside_zero(z), span, rtol=tolerance, atol=tolerance, method="dopri5")[-1], f.calls


def seconds(end, flow: Cnf, backward: bool) -> float:
    begun = time.process_time()
    with torch.set_grad_enabled(backward):
        state, _ = end()
        if backward:
            flow.zero_grad()
            state.square().mean().backward()
    return time.process_time() - begun


def compare(flow: Cnf, exact: Tensor, z: Tensor, tolerance: float, repeat: int) -> None:
    theirs, their_calls = their_end(flow, z, tolerance)
    worst = lambda state: (state.double() - exact).abs().max().item()  # noqa: E731
    print(f"{len(z)} points, tolerance {tolerance:g}: torchdiffeq {their_calls} evaluations, largest error {worst(theirs):.1e}")
    for norm in ("batch", "sample"):
        ours, calls = our_end(flow, z, tolerance, norm)
        print(f"  ours, error by {norm}: {calls} evaluations ({calls / their_calls:.2f}x), largest error {worst(ours):.1e}")
        for backward in (False, True):
            mine, other = report.alternate(
                lambda: seconds(lambda: our_end(flow, z, tolerance, norm), flow, backward),  # noqa: B023
                lambda: seconds(lambda: their_end(flow, z, tolerance), flow, backward),  # noqa: B023
                repeat,
            )
            what = "with gradients" if backward else "forward"
            least = f"ours {1e3 * min(mine):.1f} ms, theirs {1e3 * min(other):.1f} ms"
            print(f"    time, {what}: {report.ratio(mine, other)}; {least}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--updates", type=int, default=200, help="of the flow before it is solved")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    report.heading("continuous flow, ours / torchdiffeq's dopri5", options.threads)
    flow = trained(options.updates)
    with torch.no_grad():
        for n in (256, 4096):
            z = torch.randn(n, 2, generator=torch.Generator().manual_seed(0))
            flow.double()
            exact, _ = our_end(flow, z.double(), 1e-10, "sample")
            flow.float()
            for tolerance in (1e-3, 1e-5):
                compare(flow, exact, z, tolerance, options.repeat if n < 1000 else 3)


if __name__ == "__main__":
    main()
