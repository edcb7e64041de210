"""DrQ-v2 against its published facts, and against what its parts have to do."""

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from rl.drqv2 import DrQv2, DrQv2Config, Linear, Transitions
from rl.drqv2.augmentation import random_shift
from rl.drqv2.networks import Actor, Critic, Encoder

SMALL = DrQv2Config(size=21, stack=1, action_dim=2, trunk=8, hidden=16, random_steps=3)


def batch(config: DrQv2Config, size: int = 6, seed: int = 0) -> Transitions:
    generator = torch.Generator().manual_seed(seed)

    def frames() -> torch.Tensor:
        shape = (size, 3 * config.stack, config.size, config.size)
        return torch.randint(256, shape, generator=generator, dtype=torch.uint8)

    return Transitions(
        observations=frames(),
        actions=torch.rand(size, config.action_dim, generator=generator) * 2 - 1,
        rewards=torch.rand(size, generator=generator),
        discounts=torch.full((size,), 0.97),
        next_observations=frames(),
    )


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("size", "features"), [(84, 39_200), (64, 20_000)])
def test_shapes_and_counts_are_the_published_ones(size: int, features: int) -> None:
    encoder = Encoder(9, size)
    assert encoder.features == features
    assert encoder(torch.zeros(2, 9, size, size, dtype=torch.uint8)).shape == (2, features)
    assert count(encoder) == (9 * 9 * 32 + 32) + 3 * (32 * 9 * 32 + 32)
    trunk = features * 50 + 50 + 2 * 50
    assert count(Actor(features, 4, 50, 1024)) == trunk + (50 * 1024 + 1024) + (1024 * 1024 + 1024) + (1024 * 4 + 4)
    critic = (54 * 1024 + 1024) + (1024 * 1024 + 1024) + (1024 + 1)
    assert count(Critic(features, 4, 50, 1024)) == trunk + 2 * critic


def test_the_defaults_are_the_published_ones() -> None:
    config = DrQv2Config()
    assert (config.learning_rate, config.tau, config.noise_clip, config.random_steps) == (1e-4, 0.01, 0.3, 2000)
    noise = config.noise
    assert [noise.at(step) for step in (0, 50_000, 100_000, 10**9)] == pytest.approx([1.0, 0.55, 0.1, 0.1])


def test_frames_are_scaled_once() -> None:
    encoder = Encoder(3, 21)
    seen: list[torch.Tensor] = []
    encoder.layers[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    encoder(torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1, 1).expand(2, 3, 21, 21))
    assert seen[0][0].unique().tolist() == [-0.5]
    assert seen[0][1].unique().tolist() == [0.5]


def test_shifts_are_whole_pixels_with_edges_repeated_and_channels_together() -> None:
    images = torch.rand(200, 2, 12, 12)
    images[:, 1] = images[:, 0]
    moved = random_shift(images, generator=torch.Generator().manual_seed(0))
    padded = F.pad(images, (4, 4, 4, 4), mode="replicate")
    places = set()
    for image, whole in zip(moved, padded, strict=True):
        found = [
            (row, column)
            for row in range(9)
            for column in range(9)
            if torch.equal(image, whole[:, row : row + 12, column : column + 12])
        ]
        assert len(found) == 1
        places.add(found[0])
    assert len(places) > 60  # of 81: each image moves by itself, anywhere
    assert {row for row, _ in places} == {column for _, column in places} == set(range(9))


def test_the_target_is_the_n_step_return_and_the_smaller_of_two_values(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = DrQv2(replace(SMALL, noise=Linear(first=0.0, last=0.0)))
    given = batch(SMALL)
    given = replace(given, discounts=torch.tensor([0.9, 0.9, 0.9, 0.0, 0.0, 0.0]))
    seen: list[torch.Tensor] = []
    real = F.mse_loss
    monkeypatch.setattr(F, "mse_loss", lambda made, aim: seen.append(aim) or real(made, aim))
    monkeypatch.setattr("rl.drqv2.agent.random_shift", lambda images, pad, generator: images)
    networks = agent.networks
    with torch.no_grad():
        after = networks["encoder"](given.next_observations)
        values = torch.minimum(*networks["target"](after, networks["actor"](after).clamp(-1 + 1e-6, 1 - 1e-6)))
    agent.update(given, step=0)
    torch.testing.assert_close(seen[0], given.rewards + given.discounts * values)
    assert seen[0][3:].tolist() == given.rewards[3:].tolist()  # behind a terminal state there is nothing


def test_the_actor_does_not_train_the_encoder_and_the_critic_not_the_actor() -> None:
    agent = DrQv2(SMALL)
    moved: dict[str, list[str]] = {}
    descend = agent._descend

    def spied(loss: torch.Tensor, *names: str) -> None:
        before = {name: [p.clone() for p in agent.networks[name].parameters()] for name in agent.networks}
        descend(loss, *names)
        moved["+".join(names)] = [
            name
            for name, old in before.items()
            if any(not torch.equal(a, b) for a, b in zip(old, agent.networks[name].parameters(), strict=True))
        ]

    agent._descend = spied  # type: ignore[method-assign]
    agent.update(batch(SMALL), step=0)
    assert moved == {"encoder+critic": ["encoder", "critic"], "actor": ["actor"]}


def test_the_target_follows_slowly() -> None:
    agent = DrQv2(SMALL)
    old = [parameter.clone() for parameter in agent.networks["target"].parameters()]
    agent.update(batch(SMALL), step=0)
    for before, slow, fast in zip(
        old, agent.networks["target"].parameters(), agent.networks["critic"].parameters(), strict=True
    ):
        torch.testing.assert_close(slow, 0.99 * before + 0.01 * fast)


def test_actions_are_random_then_noisy_then_none_of_it() -> None:
    agent = DrQv2(SMALL)
    seen = batch(SMALL).observations
    still = agent.act(seen, 10**9, explore=False)
    assert torch.equal(still, agent.act(seen, 0, explore=False))
    assert still.abs().max() < 1
    first = torch.cat([agent.act(seen, 0) for _ in range(200)])
    assert first.abs().max() <= 1
    assert first.std().item() == pytest.approx(3**-0.5, abs=0.03)  # uniform
    late = torch.stack([agent.act(seen, 10**9) for _ in range(400)])
    assert late.std(dim=0).mean().item() == pytest.approx(0.1, abs=0.01)
    assert (late.abs() <= 1).all()


def test_the_gradient_passes_where_actions_are_cut_off() -> None:
    agent = DrQv2(SMALL)
    mean = torch.full((4, 2), 0.999, requires_grad=True)
    actions = agent._noisy(mean, step=0, clip=0.3)
    assert actions.max() <= 1
    assert (actions - 0.999).abs().max() <= 0.3 + 1e-6
    actions.sum().backward()
    assert torch.equal(mean.grad, torch.ones(4, 2))


def test_it_learns_from_pixels_which_action_pays() -> None:
    """Right pays where the picture is bright, left where it is dark."""
    config = replace(SMALL, learning_rate=1e-3, noise=Linear(first=0.2, last=0.2))
    agent, generator = DrQv2(config), torch.Generator().manual_seed(1)
    bright = torch.arange(32) % 2 == 0
    seen = torch.where(bright, 200, 50).to(torch.uint8).reshape(32, 1, 1, 1).expand(32, 3, 21, 21).contiguous()
    for step in range(150):
        actions = torch.rand(32, 2, generator=generator) * 2 - 1
        agent.update(
            Transitions(
                observations=seen,
                actions=actions,
                rewards=torch.where(bright, actions[:, 0], -actions[:, 0]),
                discounts=torch.zeros(32),
                next_observations=seen,
            ),
            step,
        )
    taken = agent.act(seen, 0, explore=False)[:, 0]
    assert taken[bright].min() > 0.7
    assert taken[~bright].max() < -0.7


def test_a_saved_agent_goes_on_alike() -> None:
    one, other = DrQv2(SMALL, seed=1), DrQv2(SMALL, seed=2)
    one.update(batch(SMALL), step=0)
    other.load(copy.deepcopy(one.tensors()))
    for agent in (one, other):
        agent.update(batch(SMALL, seed=3), step=5)
    assert torch.equal(one.act(batch(SMALL).observations, 10), other.act(batch(SMALL).observations, 10))
    with pytest.raises(ValueError, match="another agent"):
        DrQv2(replace(SMALL, hidden=8)).load(one.tensors())


def test_batches_are_put_beside_each_other() -> None:
    one, other = batch(SMALL, 2), batch(SMALL, 3, seed=1)
    both = one.beside(other)
    assert torch.equal(both.actions, torch.cat([one.actions, other.actions]))
    assert len(both.observations) == len(both.next_observations) == len(both.rewards) == len(both.discounts) == 5


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="in 0 steps"):
        Linear(steps=0)
    with pytest.raises(ValueError, match="17 pixels or more"):
        Encoder(9, 12)
