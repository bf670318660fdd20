"""The parity ladder: our module and the published one, equal random weights, equal inputs, equal outputs and gradients."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from models.checkpoint import Keymap, map_names

LAYER = 1e-5  # largest absolute difference of a layer
WHOLE = 1e-4  # of a block, of a network, of gradients


def fill(module: nn.Module, seed: int = 0, std: float = 0.05) -> nn.Module:
    """Every parameter from N(0, std^2), also those that start at zero, whose paths would go untested."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0.0, std, generator=generator)
    return module.eval()


def fill_alive(module: nn.Module) -> nn.Module:
    """`fill`, with the weights of norms around 1: a deep net at N(0, 0.05^2) hardly answers to its inputs."""
    fill(module)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, (nn.GroupNorm, nn.LayerNorm)):
                part.weight.add_(1.0)
    return module


def build_large(build: Callable[[], nn.Module]) -> nn.Module:
    """A network of hundreds of millions of weights, at the scale from which torch starts it, in a second.

    Weights are uniform within 1 / sqrt(inputs), which keeps activations of order 1 through any depth; N(0, 0.05^2)
    would explode. A million random numbers are repeated: drawing all of them takes longer than the comparison.
    """
    with torch.device("meta"):
        module = build()
    module.to_empty(device="cpu")
    noise = torch.empty(1_000_003).uniform_(-1, 1, generator=torch.Generator().manual_seed(0))
    for part in module.modules():
        is_norm = isinstance(part, (nn.GroupNorm, nn.LayerNorm))
        for name, parameter in part.named_parameters(recurse=False):
            noise = noise.roll(12_345)  # so that equal shapes differ
            repeats = -(-parameter.numel() // len(noise))
            scale = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.1
            values = noise.repeat(repeats)[: parameter.numel()].view_as(parameter) * scale
            parameter.data.copy_(values + 1 if is_norm and name == "weight" else values)
    return module.eval()


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _mapped(theirs: Mapping[str, Tensor], keymap: Keymap, their_place: str, our_place: str) -> dict[str, Tensor]:
    """Their tensors under our names; the places are where a layer stands in the whole network's tables."""
    mapped = map_names([their_place + name for name in theirs], keymap)
    result = {}
    for ours, (name, transform) in mapped.items():
        tensor = theirs[name.removeprefix(their_place)]
        result[ours.removeprefix(our_place)] = tensor if transform is None else transform(tensor)
    return result


def copy_weights(theirs: nn.Module, ours: nn.Module, keymap: Keymap, their_place: str = "", our_place: str = "") -> None:
    """Load their weights into our module through the table of names, strictly; the memory is shared."""
    ours.load_state_dict(_mapped(theirs.state_dict(), keymap, their_place, our_place), strict=True, assign=True)
    ours.eval()


def assert_close(ours: Tensor, theirs: Tensor, tolerance: float) -> None:
    """Equal within the absolute tolerance, and within 1e-3 of the largest value, should that be small."""
    assert ours.shape == theirs.shape
    difference = (ours - theirs).abs().max().item()
    scale = theirs.abs().max().item()
    assert scale > 0 and theirs.isfinite().all()
    assert difference <= tolerance, f"max difference {difference:.2e} > {tolerance:.0e}, values up to {scale:.2e}"
    assert difference <= 1e-3 * scale, f"max difference {difference:.2e}, values only up to {scale:.2e}"


def assert_equal_gradients(
    theirs: nn.Module,
    ours: nn.Module,
    run_theirs: Callable[[], Tensor],
    run_ours: Callable[[], Tensor],
    keymap: Keymap,
    their_place: str = "",
    our_place: str = "",
) -> None:
    """Equal outputs, and equal gradients of one random projection of them for every parameter."""
    expected, got = run_theirs(), run_ours()
    assert_close(got, expected, WHOLE)
    direction = normal(*expected.shape, seed=9)
    names, parameters = zip(*theirs.named_parameters())
    wanted = dict(zip(names, torch.autograd.grad((expected * direction).sum(), parameters)))
    names, parameters = zip(*ours.named_parameters())
    given = dict(zip(names, torch.autograd.grad((got * direction).sum(), parameters)))
    wanted = _mapped(wanted, keymap, their_place, our_place)
    assert wanted.keys() == given.keys()
    largest = max(gradient.abs().max().item() for gradient in wanted.values())
    for name, gradient in wanted.items():
        difference = (given[name] - gradient).abs().max().item()
        assert difference <= WHOLE * max(1.0, largest), f"gradient of {name} differs by {difference:.2e}"
        assert difference <= 1e-3 * largest, f"gradient of {name} differs by {difference:.2e} of {largest:.2e}"
