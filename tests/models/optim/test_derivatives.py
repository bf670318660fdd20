"""Derivatives against exact rationals, differences and counterexamples; formulas that must not reach Python."""

import math
import time

import pytest
import sympy
import torch

from models.optim import derivatives
from models.optim.derivatives import central, differentiable, examine, fan, gradient, level_curve, limits, unit, worked
from models.optim.formula import GALLERY, FormulaError, gallery, parse, rational

SMOOTH = ("bowl", "product", "saddle", "waves", "Rosenbrock", "hill")


def test_the_worked_example_is_22_fifths():
    f = parse("x^2 + y^2")
    found = examine(f, ("1", "2"), ("3", "4"))
    assert found.exact.directional == sympy.Rational(22, 5) and found.exact.steepest == 2 * sympy.sqrt(5)
    assert found.exact.unit == (sympy.Rational(3, 5), sympy.Rational(4, 5)) and found.exact.gradient == (2, 4)
    assert abs(found.directional - 4.4) < 1e-12 and abs(found.steepest - 2 * math.sqrt(5)) < 1e-12
    assert math.degrees(found.angle) == pytest.approx(10.30, abs=0.005)
    assert examine(f, (1, 2), (30, 40)).directional == pytest.approx(4.4, abs=1e-12), "a direction has length 1, whatever is typed"
    lines = " ".join(worked(f, found))
    assert "22/5" in lines and "2*sqrt(5)" in lines and "10.30 degrees" in lines and "2*x" in lines


@pytest.mark.parametrize("name", SMOOTH)
def test_autograd_is_the_limit_and_the_symbolic_derivative(name):
    f = gallery(name)
    p = 2 * torch.rand(1000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 1
    g = gradient(f, p)
    for direction in ((1.0, 0.0), (0.0, 1.0), (3.0, -4.0)):
        along = g @ torch.tensor(unit(direction), dtype=torch.float64)
        assert (along - central(f, p, direction)).abs().max() < 1e-6
    dx, dy = (sympy.diff(f.exact, s) for s in sympy.symbols("x y", real=True))
    for (a, b), (ga, gb) in zip(p[:5].tolist(), g[:5].tolist()):
        at = dict(zip(sympy.symbols("x y", real=True), (a, b)))
        assert float(dx.subs(at)) == pytest.approx(ga, abs=1e-9) and float(dy.subs(at)) == pytest.approx(gb, abs=1e-9)


@pytest.mark.parametrize("name", SMOOTH)
def test_the_gradient_is_the_steepest_direction(name):
    f, p = gallery(name), (0.6, -0.4)
    angle = 2 * math.pi * torch.arange(3600, dtype=torch.float64) / 3600
    q = torch.tensor([p], dtype=torch.float64)
    h = 1e-5
    u = torch.stack([angle.cos(), angle.sin()], 1)
    slopes = (f(q[:, 0] + h * u[:, 0], q[:, 1] + h * u[:, 1]) - f(q[:, 0] - h * u[:, 0], q[:, 1] - h * u[:, 1])) / (2 * h)
    found = examine(f, p, (1, 1))
    assert slopes.max().item() == pytest.approx(found.steepest, rel=1e-6)
    best = angle[slopes.argmax()].item()
    assert abs((best - math.atan2(found.gradient[1], found.gradient[0]) + math.pi) % (2 * math.pi) - math.pi) < 2 * math.pi / 3600
    assert torch.allclose(slopes, found.steepest * (angle - math.atan2(found.gradient[1], found.gradient[0])).cos(), atol=1e-5)


@pytest.mark.parametrize("name", ["bowl", "saddle", "waves", "Rosenbrock"])
def test_gradients_stand_upright_on_level_curves(name):
    f = gallery(name)
    curve = level_curve(f, (0.7, 0.3), 0.5, 200)
    values = f(curve[:, 0], curve[:, 1])
    assert (values - values[0]).abs().max() < 1e-9
    assert (curve.diff(dim=0).norm(dim=1).sum() - 0.5).abs() < 1e-3
    chords = torch.nn.functional.normalize(curve[2:] - curve[:-2], dim=1)
    upright = torch.nn.functional.normalize(gradient(f, curve[1:-1]), dim=1)
    assert (chords * upright).sum(1).abs().max() < 1e-3


def test_the_tangent_plane_touches():
    f = gallery("waves")
    found = examine(f, ("1/2", "1/3"), (1, 0))
    for size, bound in ((1e-2, 1e-4), (1e-3, 1e-6)):
        x, y = torch.tensor(0.5 + size, dtype=torch.float64), torch.tensor(1 / 3 - size, dtype=torch.float64)
        assert abs(found.plane(x, y) - f(x, y)) < bound


def test_a_roof_and_a_cone_have_slopes_and_no_gradient():
    roof, cone = gallery("roof"), gallery("cone")
    for f, exact in ((roof, lambda u: u.abs().sum(1)), (cone, lambda u: u.norm(dim=1))):
        u = fan(16)
        assert torch.allclose(limits(f, (0.0, 0.0), u), exact(u), atol=1e-9)
        found = examine(f, (0, 0), (3, 4))
        assert not found.differentiable and found.gradient is None and found.exact is None
        assert found.directional == pytest.approx(exact(torch.tensor([[0.6, 0.8]])).item())
        with pytest.raises(FormulaError, match="no tangent plane"):
            found.plane(torch.tensor(0.0), torch.tensor(0.0))
        assert "not differentiable" in worked(f, found)[-1]
        assert examine(f, (1, 2), (3, 4)).differentiable
    assert central(roof, torch.zeros(1, 2), (1.0, 0.0)).item() == 0, "which is why a central difference may not be asked at a kink"


def test_all_directional_derivatives_without_continuity():
    f = gallery("ridge")
    u = fan(24)
    assert torch.allclose(limits(f, (0.0, 0.0), u), u[:, 0] ** 2 / u[:, 1], rtol=1e-3)
    assert limits(f, (0.0, 0.0), torch.tensor([[1.0, 0.0]])).item() == 0
    found = examine(f, (0, 0), (1, 1))
    assert not found.differentiable and found.directional == pytest.approx(1 / math.sqrt(2), rel=1e-6)
    x = torch.tensor([1e-2, 1e-4, 1e-8], dtype=torch.float64)
    assert torch.allclose(f(x, x**2), torch.full((3,), 0.5, dtype=torch.float64)) and f.at(0, 0) == 0


def test_a_limit_that_does_not_exist_is_not_invented():
    assert not limits(parse("sqrt(abs(x))"), (0.0, 0.0), torch.tensor([[1.0, 0.0]])).isfinite()
    found = examine(parse("sqrt(abs(x))"), (0, 0), (1, 0))
    assert found.directional is None and not found.differentiable


@pytest.mark.parametrize(
    ("text", "point", "gradient"),
    [
        ("sin(1000*x)", (0, 0), (1000, 0)), ("x^1000", (1.001, 1), (1000 * 1.001**999, 0)), ("x^2 + y^2", (1e9, 2), (2e9, 4)),
        ("abs(x)", ("1e-6", 0), (1, 0)), ("sqrt(x^4 + y^4)", (0, 0), (0, 0)), ("abs(x)*x + y", (0, 1), (0, 1)),
        ("(x^2 + y^2)^1.5", (0, 0), (0, 0)), ("x/abs(x)", (-2, 0), (0, 0)),
    ],
)  # fmt: skip
def test_what_is_smooth_is_not_called_a_kink(text, point, gradient):
    """Steep, tightly curved or far away, or smooth at a place where a part of the formula is not."""
    found = examine(parse(text), point, (3, 4))
    assert found.differentiable and found.gradient == pytest.approx(gradient, rel=1e-6, abs=1e-6)
    assert found.directional == pytest.approx(0.6 * gradient[0] + 0.8 * gradient[1], rel=1e-6, abs=1e-6)
    assert "nan" not in " ".join(worked(parse(text), found))


@pytest.mark.parametrize(
    ("text", "point"),
    [
        ("abs(x)", (0, 0)), ("abs(x - 1/3)", ("1/3", 5)), ("sqrt(x^2 + y^2)", (0, 0)), ("abs(x^2 - y)", (2, 4)), ("asin(x)", (1, 0)),
        ("x^(2/3)", (0, 0)), ("abs(x - 1000000)", (1000000, 0)),
        ("atan(1/x)", (0, 0)),
    ],
)  # fmt: skip
def test_a_kink_is_found_by_the_form_and_then_by_numbers(text, point):
    formula = parse(text)
    assert not formula.smooth_at(*(float(rational(part)) for part in point))
    assert not differentiable(formula, tuple(float(rational(part)) for part in point))


@pytest.mark.parametrize("text", ["x^1000", "(((x + 1/7)^900 + 1/7)^900 + 1/7)^900", "sin(x)^7*cos(x)^5*tan(x)^3"])
def test_what_cannot_be_written_exactly_is_solved_in_decimals(text):
    begun, found = time.process_time(), examine(parse(text), ("1/7", 1), (1, 0))
    lines = worked(parse(text), found)
    assert found.exact is None and time.process_time() - begun < 5 and all(len(line) < 300 for line in lines)
    assert lines[2].startswith("grad f(0.142857, 1) = (") and f"D_u f = grad f . u = {found.directional + 0.0:.6g}" in lines


def test_exact_points_stay_exact_in_the_worked_solution():
    f = parse("x^2*y")
    lines = worked(f, examine(f, ("1/3", "0.5"), (1, 0)))
    assert lines[1] == "df/dx = 2*x*y,  df/dy = x^2" and lines[2] == "grad f(1/3, 1/2) = (1/3, 1/9)"
    assert lines[3] == "u = (1, 0),  |u| = 1" and lines[4] == "D_u f = grad f . u = 1/3 = 0.333333"
    assert worked(parse("7*x"), examine(parse("7*x"), (0, 0), (1, 0)))[4] == "D_u f = grad f . u = 7"


def test_where_the_gradient_vanishes_there_is_no_angle():
    found = examine(gallery("bowl"), (0, 0), (1, 0))
    assert found.differentiable and found.steepest == 0 and found.angle is None and found.directional == 0
    with pytest.raises(FormulaError, match="level curve ends"):
        level_curve(gallery("saddle"), (0.0, 0.0), 1.0, 4)


def test_functions_of_less_than_two_variables():
    found = examine(parse("7"), (1, 2), (1, 1))
    assert found.value == 7 and found.gradient == (0, 0) and found.exact.directional == 0
    assert examine(parse("3*y"), (1, 2), (0, -2)).directional == -3


@pytest.mark.parametrize("direction", [(0, 0), ("0", "0")])
def test_a_direction_must_point_somewhere(direction):
    with pytest.raises(FormulaError, match="no direction"):
        examine(gallery("bowl"), (1, 2), direction)


@pytest.mark.parametrize("text", ["0.1", "1/10", ".1", "1e-1"])
def test_numbers_are_taken_exactly(text):
    assert rational(text) == sympy.Rational(1, 10)


@pytest.mark.parametrize("text", ["nan", "inf", "", "1e999", "1e99999999", "1/0", "two", "9" * 50])
def test_what_is_no_number_is_refused(text):
    with pytest.raises(FormulaError, match="not a number"):
        rational(text)


@pytest.mark.parametrize(
    "text",
    [
        "(x^1000)^1000", "x" * 400,
        "", "   ", "x +", "x y", "2x", "z", "x.real", "__import__('os')", "(lambda: 1)()", "x if y else 1", "[x]", "x < y", "x, y", "'a'",
        "True", "1j", "f(x)", "sin(x, y)", "sin", "sin(x=1)", "x // y", "x % 2", "x @ y", "~x", "x := 2", "open('a')", "exec('1')",
        "().__class__", "1/0", "x/(1-1)", "0^(-1)", "9^9^9^9", "9**999999", "((9^999)^999)^999", "x^1e9", "1e300",
        "(" * 100 + "x" + ")" * 100 + "+", "-" * 60 + "x", "\x00", "x;y", "x\ny", "print(x)", "sin.__globals__", "abs(*x)", "x**y**",
    ],
)  # fmt: skip
def test_what_is_no_formula_is_refused_at_once(text):
    begun = time.process_time()
    with pytest.raises(FormulaError) as error:
        parse(text)
    assert error.value.message.endswith(".") and time.process_time() - begun < 2


def test_nothing_of_python_is_reached(monkeypatch):
    import builtins

    def forbidden(*args, **kwargs):
        raise AssertionError("eval or exec was called")

    def use():
        f = parse("sin(x)^2*exp(-y/3) + sqrt(2 + abs(x)) - pi*atan(y) + log(3 + x^2)")
        return examine(f, (1, 2), (1, -1)).differentiable

    use()  # whatever sympy imports late, it imports now
    monkeypatch.setattr(builtins, "eval", forbidden)
    monkeypatch.setattr(builtins, "exec", forbidden)
    assert use()


@pytest.mark.parametrize(("text", "point"), [("1/x", (0, 1)), ("log(x)", (-1, 0)), ("sqrt(y)", (0, -1)), ("exp(exp(x))", (100, 0))])
def test_a_point_without_a_value_is_told(text, point):
    with pytest.raises(FormulaError, match="no finite value"):
        examine(parse(text), point, (1, 0))


def test_caret_is_power_with_the_strength_of_a_power():
    one = torch.tensor(3.0, dtype=torch.float64)
    assert parse("x^2 + y^2")(one, one).item() == 18 and parse("-x^2")(one, one).item() == -9 and parse("2^3^2")(one, one).item() == 512
    assert parse("x/2 - -y")(one, 2 * one).item() == 7.5
    assert set(GALLERY) >= set(SMOOTH) and differentiable(gallery("product"), (0.0, 0.0))
    assert derivatives.quotients(gallery("bowl"), (1.0, 2.0), fan(4)).shape == (3, 4)
