"""The rules' mathematics: signs, closed forms, reach of gradients, what is alive when."""

import math
import weakref
from collections.abc import Callable
from dataclasses import replace as with_changes

import pytest
import torch
from msgspec.structs import replace
from torch import Tensor

from dfedge.blocks import Block
from dfedge.int8.scales import LayerScales, Scales
from dfedge.learn.forms import FORMS
from dfedge.learn.forms.labelplane import LabelPlane
from dfedge.learn.forms.loss import judge
from dfedge.learn.forms.negatives import draw, remember
from dfedge.learn.forms.onepass import distances, pixels, separation
from dfedge.learn.net import Net, stages
from dfedge.learn.rules import Batch, load_rule
from dfedge.learn.rules.df_o import slide
from dfedge.learn.rules.df_o_alternating import groups
from dfedge.learn.spec import Loss, NetSpec, load_spec
from dfedge.rules import OWN

KINDS = [
    Block(4),
    Block(6, pool=True),
    Block(6, kind="separable"),
    Block(6, kind="residual"),
    Block(8, kind="residual", stride=2),
    Block(5, kind="linear"),
]
SMALL = NetSpec(block=[Block(4), Block(6, pool=True), Block(5)], anchors=1)
SOFT = replace(SMALL, loss=Loss(kind="softmax"))
Seen = dict[str, Tensor]


def batch_of(classes: int = 4, seed: int = 0, number: int = 0) -> Batch:
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 128, (8, 1, 8, 8), generator=g)
    return Batch(x, torch.randint(0, classes, (8,), generator=g), number, g)


def make_net(spec: NetSpec = SMALL, form: str = "one-pass", rule: str = "df") -> Net:
    made = load_rule(rule)
    torch.manual_seed(0)
    spec = replace(spec, loss=made.loss(spec.loss), plane=made.loss(spec.plane))
    net = Net(spec, (8, 8, 1), 4, form).double()
    made.prepare(net)
    if form == "one-pass":
        for anchors in net.one_pass.anchors:
            torch.nn.init.uniform_(anchors)
    return net


def gradients(net: Net, rule: str, number: int = 0) -> Seen:
    """What `update` finds, layer by layer."""
    net.zero_grad(set_to_none=True)
    names = {id(p): name for name, p in net.named_parameters()}
    found: Seen = {}

    def update(i: int) -> None:
        for p in net.parameters_of(i):
            if p.grad is not None:
                found[names[id(p)]] = p.grad.clone()
                p.grad = None

    load_rule(rule).step(net, with_changes(batch_of(), number=number), update)
    assert all(p.grad is None for p in net.parameters()), "a gradient that no update takes"
    return found


# -- signs and closed forms --------------------------------------------------------------------


def test_distance_sign_the_right_label_is_the_near_one() -> None:
    p, anchors = torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 1.0], [0.0, 3.0]])
    d = distances(p, anchors)
    assert d.tolist() == [[0.0, 2.5]]  # (1 + 4) / 2
    loss = Loss(margin=0.3)
    right = judge(d, torch.tensor([0]), loss, anchors=anchors)
    wrong = judge(d, torch.tensor([1]), loss, anchors=anchors)
    assert (float(right.loss), float(wrong.loss)) == (0.0, pytest.approx(1.3))  # 0.3 + 2.5 / 2.5


def test_energy_sign_the_right_labels_goodness_is_high() -> None:
    net = make_net(form="label-plane")
    form = net.form
    assert isinstance(form, LabelPlane)
    form.labels = torch.tensor([[2, 0]])
    strong = torch.cat([torch.full((1, 3, 2, 2), 2.0), torch.ones(1, 3, 2, 2)])
    y = torch.tensor([2])
    absolute = Loss(kind="absolute", margin=1.0)
    form.loss = absolute
    assert float(form.judge(0, strong, y).loss) == 0.0  # 1 + 1 - 4 < 0
    assert float(form.judge(0, strong.flip(0), y).loss) == 4.0  # 1 + 4 - 1
    form.loss = replace(absolute, penalty=0.5)
    assert float(form.judge(0, strong, y).loss) == 0.5  # lambda g-, g- = 1


@pytest.mark.parametrize("penalty", [0.0, 0.25])
def test_one_pass_gradients_in_closed_form(penalty: float) -> None:
    """algorithm: dL/dp = (2/d) [(a + lambda)(p - A_y) - a (p - A_k*)], absolute margin."""
    g = torch.Generator().manual_seed(1)
    p = torch.rand(16, 10, generator=g, dtype=torch.float64, requires_grad=True)
    anchors = torch.rand(5, 10, generator=g, dtype=torch.float64, requires_grad=True)
    y = torch.randint(0, 5, (16,), generator=g)
    loss = Loss(kind="absolute", margin=0.02, penalty=penalty)
    said = judge(distances(p, anchors), y, loss, anchors=anchors)
    said.loss.backward()
    assert 0 < float(said.active) < 1
    a = said.violated.double()[:, None]
    near, far = p.detach() - anchors.detach()[y], p.detach() - anchors.detach()[said.rival]
    unit = 2 / (10 * 16)
    assert (p.grad - unit * ((a + penalty) * near - a * far)).abs().max() < 1e-12
    expected = torch.zeros_like(anchors)
    expected.index_add_(0, y, -unit * (a + penalty) * near)
    expected.index_add_(0, said.rival, unit * a * far)
    assert (anchors.grad - expected).abs().max() < 1e-12


def test_separation_margin_points_where_the_integer_step_does() -> None:
    g = torch.Generator().manual_seed(1)
    p = torch.rand(16, 10, generator=g, dtype=torch.float64, requires_grad=True)
    anchors = torch.rand(5, 10, generator=g, dtype=torch.float64, requires_grad=True)
    y = torch.randint(0, 5, (16,), generator=g)
    d = distances(p, anchors)
    said = judge(d, y, Loss(margin=0.3), anchors=anchors)
    said.loss.backward()
    k, held = said.rival, anchors.detach()
    separation = (held[k] - held[y]).square().mean(1)
    gap = (d.gather(1, y[:, None]) - d.gather(1, k[:, None])).detach()[:, 0]
    on = 0.3 * separation + gap > 0  # the integer step's criterion
    assert 0 < int(on.sum()) < 16
    assert torch.equal(on, said.violated)
    unit = (on / separation)[:, None] * 2 / (10 * 16)
    spread = (gap / separation)[:, None] * unit * (held[k] - held[y])  # through the separation
    assert (p.grad - unit * (held[k] - held[y])).abs().max() < 1e-12
    expected = torch.zeros_like(held)
    expected.index_add_(0, y, -unit * (p.detach() - held[y]) + spread)
    expected.index_add_(0, k, unit * (p.detach() - held[k]) - spread)
    assert (anchors.grad - expected).abs().max() < 1e-12


@pytest.mark.parametrize("penalty", [0.0, 0.25])
def test_label_plane_gradient_in_closed_form(penalty: float) -> None:
    """algorithm: delta_k = c_k (2/D) h_k with c_y = -a, c_k* = a + lambda, every other copy 0."""
    form = LabelPlane(
        (2, 2, 1), [(2, 2, 1)], 4, Loss(kind="absolute", margin=0.01, penalty=penalty)
    )
    g = torch.Generator().manual_seed(4)
    h = torch.rand(3 * 6, 5, 2, 2, generator=g, dtype=torch.float64, requires_grad=True)
    form.labels = torch.tensor([[1, 0, 2]]).expand(6, -1)
    said = form.judge(0, h, torch.ones(6, dtype=torch.int64))
    said.loss.backward()
    assert 0 < float(said.active) < 1
    c = torch.zeros(3, 6, dtype=torch.float64)
    c[0] = -said.violated.double()
    c.scatter_add_(0, said.rival[None], (said.violated.double() + penalty)[None])
    expected = c.reshape(18, 1, 1, 1) * (2 / 20) * h.detach() / 6
    assert (h.grad - expected).abs().max() < 1e-12


def test_crossing_error_equals_the_closed_form_of_a_transposed_convolution() -> None:
    """df-o: v = W^T * delta through normalisation and ReLU; here against autograd over the pair."""
    net = make_net(rule="df-o")
    sliding = gradients(net, "df-o")
    form, batch = net.one_pass, batch_of()
    a = pixels(batch.x).double()
    expected = None
    for i in (0, 1):  # layer 0 hears its own loss and layer 1's, and no more
        h = net.activate(0, a)
        h = h if i == 0 else net.activate(1, form.hand_on(0, net.units[0], h))
        loss = form.judge(i, h, batch.y).loss
        (g,) = torch.autograd.grad(loss, net.units[0].first.weight)
        expected = g if expected is None else expected + g
    assert (sliding["layers.0.stages.0.weight"] - expected).abs().max() < 1e-6


# -- reach ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rule", OWN)
def test_every_rule_moves_every_layer_of_every_kind(rule: str, form: str) -> None:
    net = make_net(NetSpec(block=KINDS, anchors=1), form, rule)
    seen = gradients(net, rule)
    for name, parameter in net.named_parameters():
        if parameter.ndim == 4:
            assert seen[name].abs().max() > 0, name


@pytest.mark.parametrize(
    ("rule", "reach"),
    [("df", 0), ("ff", 0), ("df-o", 1), ("df-r", 1), ("df-r-concordant", 1), ("bp", 2)],
)
@pytest.mark.parametrize(("form", "spec"), [*((form, SMALL) for form in FORMS), ("one-pass", SOFT)])
def test_a_layers_gradient_depends_on_the_layers_above_within_the_rules_reach(
    rule: str, reach: int, form: str, spec: NetSpec
) -> None:
    def first_gradient(changed: int | None) -> Tensor:
        net = make_net(spec, form, rule)
        if changed is not None:
            with torch.no_grad():
                for p in net.units[changed].parameters():
                    p.mul_(1.7).add_(0.1)
        return gradients(net, rule)["layers.0.stages.0.weight"]

    as_it_is = first_gradient(None)
    for above in (1, 2):
        assert torch.equal(first_gradient(above), as_it_is) == (above > reach), above


def test_alternating_groups_overlap() -> None:
    assert groups(5, 0) == [[0, 1], [2, 3], [4]]
    assert groups(5, 1) == [[0], [1, 2], [3, 4]]
    assert groups(1, 1) == [[0]]


def test_alternating_rule_moves_both_layers_of_a_pair_by_the_upper_ones_loss() -> None:
    net = make_net()
    even, odd = gradients(net, "df-o-alternating", 0), gradients(net, "df-o-alternating", 1)
    assert sorted(name for name in even if "anchors" in name) == [
        "form.anchors.1", "form.anchors.2"]  # fmt: skip
    assert sorted(name for name in odd if "anchors" in name) == ["form.anchors.0", "form.anchors.2"]
    assert len([name for name in even if name.endswith("stages.0.weight")]) == 3


def test_random_feedback_equals_df_o_where_b_is_w() -> None:
    net = make_net(NetSpec(block=KINDS, anchors=1), rule="df-r")
    for _, stage in stages(net):
        stage.random = stage.weight.detach().clone()
    random, true = gradients(net, "df-r"), gradients(make_net(net.spec), "df-o")
    assert random.keys() == true.keys()
    for name, value in random.items():
        assert (value - true[name]).abs().max() < 1e-9, name


def test_random_feedback_is_fixed_and_concordant_takes_signs() -> None:
    plain, again = make_net(rule="df-r"), make_net(rule="df-r")
    for (_, one), (_, two) in zip(stages(plain), stages(again), strict=True):
        assert torch.equal(one.random, two.random)
        assert one.random.std() > 0
    assert "random" not in "".join(plain.state_dict())
    net = make_net(rule="df-r-concordant")
    stage = net.units[1].first
    stage.random = stage.weight.detach().abs()  # its signs are taken from the weights
    net.units[0].first.random = net.units[0].first.weight.detach().abs()
    net.units[2].first.random = net.units[2].first.weight.detach().abs()
    for name, value in gradients(net, "df-r-concordant").items():
        assert torch.allclose(value, gradients(make_net(), "df-o")[name], atol=1e-9), name


def test_checkpointed_back_propagation_is_back_propagation() -> None:
    one, two = make_net().train(), make_net().train()
    left, right = gradients(one, "bp"), gradients(two, "bp-checkpoint")
    assert left.keys() == right.keys()
    for name in left:
        assert torch.equal(left[name], right[name]), name
    for name, value in one.state_dict().items():
        if "running" in name:
            assert torch.equal(value, two.state_dict()[name]), name


@pytest.mark.parametrize(("rule", "alive"), [("df", [0, 0, 0]), ("df-o", [0, 1, 1])])
def test_graphs_of_other_layers_alive_when_a_layer_computes(rule: str, alive: list[int]) -> None:
    """df: none.  df-o: the one right below."""

    class Saved:
        def __init__(self, tensor: Tensor, layer: int) -> None:
            self.tensor, self.layer = tensor, layer

    kept: weakref.WeakSet[Saved] = weakref.WeakSet()
    net, computing, found = make_net(), [0], []

    def pack(tensor: Tensor) -> Saved:
        saved = Saved(tensor, computing[0])
        kept.add(saved)
        return saved

    def before(i: int) -> Callable[..., Tensor]:
        convolve = net.units[i].first.convolve

        def hook(*args: Tensor) -> Tensor:
            found.append(len({saved.layer for saved in kept if saved.layer < i}))
            computing[0] = i
            return convolve(*args)

        return hook

    for i, unit in enumerate(net.units):
        unit.first.convolve = before(i)  # type: ignore[method-assign]
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved.tensor):
        load_rule(rule).step(net, batch_of(), lambda i: None)
    assert found == alive


# -- losses and negatives --------------------------------------------------------------------------


def test_relative_margin_and_cross_entropy_have_their_values() -> None:
    cost, y = torch.tensor([[1.0, 3.0, 2.0]]), torch.tensor([0])
    assert float(judge(cost, y, Loss(kind="relative", margin=0.5)).loss) == pytest.approx(1 / 6)
    expected = -math.log(1 / (1 + math.exp(-2) + math.exp(-1)))
    entropy = judge(cost, y, Loss(kind="cross-entropy", temperature=1.0))
    assert float(entropy.loss) == pytest.approx(expected)
    shown = torch.tensor([[False, True, False]])
    one = judge(cost, y, Loss(kind="cross-entropy", temperature=1.0), shown)
    assert float(one.loss) == pytest.approx(math.log(1 + math.exp(-2)))
    assert one.rival.tolist() == [1]


@torch.no_grad()
def test_softmax_is_over_distances_in_units_of_the_anchors_separation() -> None:
    form = make_net(SOFT).one_pass
    g = torch.Generator().manual_seed(2)
    p = torch.rand(8, form.anchors[0].shape[1], generator=g, dtype=torch.float64)
    y = torch.randint(0, 4, (8,), generator=g)
    pairs = torch.pdist(form.anchors[0]).square().mean() / p.shape[1]
    assert float(separation(form.anchors[0])) == pytest.approx(float(pairs))
    logits = -4.0 * torch.cdist(p, form.anchors[0]).square() / p.shape[1] / pairs
    said = form.judge_pooled(0, p, y)
    assert float(said.loss) == pytest.approx(float(torch.nn.functional.cross_entropy(logits, y)))
    assert said.violated.tolist() == (logits.argmax(1) != y).tolist()
    form.anchors[0].mul_(7.5)
    assert float(form.judge_pooled(0, 7.5 * p, y).loss) == pytest.approx(float(said.loss))


def test_layers_learn_how_much_their_distances_count() -> None:
    for rule in ("df", "df-o"):
        net = make_net(SOFT)
        seen = gradients(net, rule)
        for i in range(3):
            assert float(seen[f"form.log_sharpness.{i}"]) != 0, rule
        costs = net.float().eval().layer_costs(batch_of().x)
        with torch.no_grad():
            net.one_pass.log_sharpness[1].add_(math.log(3))
        counted = torch.tensor([1.0, 3.0, 1.0])[:, None, None]
        assert torch.allclose(net.layer_costs(batch_of().x), counted * costs)


def test_distances_are_float32s_own_where_maps_are_bfloat16() -> None:
    g = torch.Generator().manual_seed(0)
    p, anchors = torch.rand(8, 256, generator=g), torch.rand(4, 256, generator=g)
    with torch.autocast("cpu", torch.bfloat16):
        found = distances(p, anchors)
    assert torch.equal(found, distances(p, anchors))


def test_negatives_are_distinct_wrong_and_follow_their_odds() -> None:
    y = torch.arange(4).repeat(500)
    odds = torch.ones(4, 4)
    odds[0, 3] = 8.0
    drawn = draw(y, 2, odds, torch.Generator().manual_seed(0))
    assert drawn.shape == (2000, 2)
    assert not (drawn == y[:, None]).any()
    assert (drawn[:, 0] != drawn[:, 1]).all()
    first = drawn[y == 0][:, 0]
    assert (first == 3).float().mean() == pytest.approx(0.8, abs=0.06)
    assert (drawn[y == 1][:, 0] == 3).float().mean() == pytest.approx(1 / 3, abs=0.06)
    every = draw(y, 3, odds, torch.Generator().manual_seed(0))
    assert (every.sort(1).values.sum(1) + y == 6).all()


def test_confusion_moves_towards_what_was_violated() -> None:
    odds = torch.ones(3, 3)
    y, rival = torch.tensor([0] * 300 + [1] * 300), torch.tensor([1] * 300 + [2] * 300)
    violated = torch.tensor([False] * 300 + [True] * 300)
    remember(odds, y, rival, violated)
    assert odds[0, 1] < 0.06
    assert odds[1, 2] == pytest.approx(1.0)
    assert odds[2, 0] == 1.0


def test_quantised_scores_are_integers_of_the_scales() -> None:
    net = make_net().float().eval()
    net.scales = (LayerScales((Scales(6, 4),), 4),) * 3
    scores = net.scores(batch_of().x)
    assert torch.equal(scores, scores.round())


def test_uncounted_layers_do_not_enter_a_score() -> None:
    net = make_net().float().eval()
    x = batch_of().x
    costs = net.layer_costs(x)
    net.counted = (1,)
    assert torch.equal(net.scores(x), -costs[1])


# -- nets ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "image", "outputs"),
    [
        ("ten", (32, 32, 3), [(32, 64), (32, 128), (16, 128), (16, 256), (16, 256), (8, 256),
                              (8, 512), (8, 512), (4, 512), (4, 512)]),
        ("resnet8", (32, 32, 3), [(32, 16), (32, 16), (16, 32), (8, 64)]),
        ("kws", (49, 10, 1), [(25, 64), (25, 64), (25, 64), (25, 64), (25, 64)]),
    ],
)  # fmt: skip
def test_named_nets_have_the_shapes_of_their_source(
    name: str, image: tuple[int, int, int], outputs: list[tuple[int, int]]
) -> None:
    spec = load_spec(name)
    assert [(out[0], out[2]) for _, out in spec.shapes(image)] == outputs
    with torch.no_grad():
        net = Net(spec, image, 3)
        x = torch.zeros(2, image[2], *image[:2])
        shapes = [tuple(h.shape[2:]) for h in net.activations(x)]
    assert shapes == [out[:2] for _, out in spec.shapes(image)]


def test_depth_repeats_the_last_block() -> None:
    assert len(load_spec("plain-16").blocks()) == 10
    assert len(load_spec("plain-16", 40).blocks()) == 40


@pytest.mark.parametrize("training", [True, False])
def test_lean_layers_gradients_and_statistics_are_autograds(training: bool) -> None:
    """`lean.read` against normalisation, ReLU, pooling and pool by autograd, over odd sizes."""
    spec = NetSpec(
        block=[Block(4, pool=True), Block(6, kind="separable", pool=True), Block(5)], anchors=2
    )
    lean, plain = (make_net(spec).train(training) for _ in range(2))
    lean.lean = True
    g = torch.Generator().manual_seed(5)
    x = torch.randint(0, 128, (21, 1, 8, 8), generator=g)
    y = torch.randint(0, 4, (21,), generator=g)
    a = b = lean.form.begin(x, y, g)
    for i, unit in enumerate(plain.units):
        judged, a = lean.look(i, a, y)
        judged.loss.backward()
        h = plain.activate(i, b)
        plain.form.judge(i, h, y).loss.backward()
        b = plain.form.hand_on(i, unit, h.detach())
        assert (a - b).abs().max() < 1e-12
        for p, q in zip(lean.parameters_of(i), plain.parameters_of(i), strict=True):
            assert (p.grad - q.grad).abs().max() < 1e-9
    for name, value in lean.state_dict().items():
        if "running" in name:
            assert (value - plain.state_dict()[name]).abs().max() < 1e-12, name


class Wire:
    """Both ends of a boundary in one process: the upper worker runs while the lower one waits."""

    def __init__(self, net: Net, layers: range, y: torch.Tensor) -> None:
        self.net, self.layers, self.y = net, layers, y

    def up(self, activation: torch.Tensor) -> None:
        slide(self.net, self.layers, activation, self.y, lambda i: None, self)

    def error(self) -> torch.Tensor:
        return self.arrived

    def down(self, error: torch.Tensor) -> None:
        self.arrived = error


def test_layers_spread_over_two_workers_get_the_gradients_of_one() -> None:
    spec = load_spec("digits")
    g = torch.Generator().manual_seed(1)
    x = torch.randint(0, 128, (16, 1, 8, 8), generator=g, dtype=torch.int8)
    y = torch.randint(0, 10, (16,), generator=g)
    grads = []
    for cut in (3, 1, 2):
        torch.manual_seed(3)
        net = Net(spec, (8, 8, 1), 10).train()
        wire = Wire(net, range(cut, 3), y)
        slide(net, range(cut), net.form.begin(x, y, None), y, lambda i: None, wire)
        grads.append([p.grad.clone() for p in net.parameters()])
    for other in grads[1:]:
        assert all(torch.equal(a, b) for a, b in zip(grads[0], other, strict=True))


@pytest.mark.parametrize("form", FORMS)
def test_scoring_all_labels_holds_few_maps_at_a_time_and_changes_no_score(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = make_net(form=form).float().eval()
    x = torch.cat([batch_of(seed=seed).x for seed in range(5)])  # 40 samples, 4 labels
    whole = net.layer_costs(x)
    sizes: list[int] = []
    monkeypatch.setattr("dfedge.learn.net.MAPS_AT_ONCE", 24)
    net.layers[0].register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    assert torch.equal(net.layer_costs(x), whole)
    assert max(sizes) == 24
    assert sum(sizes) == (160 if form == "label-plane" else 40)
