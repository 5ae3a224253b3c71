"""``examples/dqn_cartpole.py`` in PyTorch: the same network, buffer, steps and log."""

import random
import sys
import time
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from cartpole import CartPole
from harness import Run, parser


def network(width):
    """Return Q: states ``(N, 4)`` to the values of two actions ``(N, 2)``."""
    return nn.Sequential(
        nn.Linear(CartPole.features, width), nn.ReLU(),
        nn.Linear(width, width), nn.ReLU(),
        nn.Linear(width, CartPole.actions),
    )  # fmt: skip


class ReplayBuffer:
    """The last `capacity` transitions, in tensors allocated once."""

    def __init__(self, capacity):
        self.columns = [
            torch.zeros((capacity, CartPole.features)),
            torch.zeros((capacity, 1), dtype=torch.int64),
            torch.zeros((capacity, 2)),
            torch.zeros((capacity, CartPole.features)),
        ]
        self.capacity = capacity
        self.count = 0

    def add(self, state, action, outcome, following):
        """Store a transition; the oldest makes room."""
        row = self.count % self.capacity
        for column, value in zip(
            self.columns, (state, (action,), outcome, following), strict=True
        ):
            column[row] = torch.tensor(value, dtype=column.dtype)
        self.count += 1

    def sample(self, size):
        """Return `size` transitions drawn with replacement, a tensor a column."""
        rows = torch.randint(0, min(self.count, self.capacity), (size,))
        return [column[rows] for column in self.columns]


def greedy(values, state):
    """Return the action of the highest value in `state`."""
    with torch.no_grad():
        left, right = values(torch.tensor(state)).tolist()
    return int(right > left)


def loss_of(values, frozen, batch, discount):
    """Return the Huber loss of Bellman's equation, shape ``()``."""
    state, action, outcome, following = batch
    reward, fell = outcome[:, 0], outcome[:, 1]
    with torch.no_grad():
        likely = values(following).argmax(dim=1, keepdim=True)
        best = torch.gather(frozen(following), 1, likely).squeeze(1)
        target = reward + discount * (1.0 - fell) * best
    chosen = torch.gather(values(state), 1, action).squeeze(1)
    return nn.functional.huber_loss(chosen, target)


def follow(frozen, values, share):
    """Move the target network a share of the way to the other."""
    with torch.no_grad():
        for slow, quick in zip(frozen.parameters(), values.parameters(), strict=True):
            slow += share * (quick - slow)


def train(values, options, run):
    """Learn until the target or the last step; return the steps done and returns."""
    frozen = network(options.width)
    frozen.load_state_dict(values.state_dict())
    optimizer = torch.optim.Adam(values.parameters(), lr=options.lr)
    buffer = ReplayBuffer(options.capacity)
    world = CartPole(options.limit, options.seed)
    choice = random.Random(options.seed)
    state, total, returns = world.reset(), 0.0, []
    for step in range(1, options.steps + 1):
        share = max(0.05, 1.0 - step / options.explore)
        at_random = choice.random() < share
        action = choice.randrange(2) if at_random else greedy(values, state)
        following, reward, fell, over = world.step(action)
        buffer.add(state, action, (reward, float(fell)), following)
        state, total = following, total + reward
        if step >= options.warmup and step % options.every == 0:
            optimizer.zero_grad()
            batch = buffer.sample(options.batch)
            loss_of(values, frozen, batch, options.discount).backward()
            nn.utils.clip_grad_norm_(values.parameters(), 10.0)
            optimizer.step()
            follow(frozen, values, options.follow)
        if over:
            returns.append(total)
            last = returns[-100:]
            mean = sum(last) / len(last)
            run.log(step, episode_return=total, mean_100=mean, epsilon=share)
            if len(returns) % 50 == 0:
                run.report(step, mean_100=mean, epsilon=share)
            state, total = world.reset(), 0.0
            promising = mean >= options.target and len(returns) % 10 == 0
            if promising and play(values, 10, options) >= options.solved:
                break
    return step, returns


def play(values, episodes, options):
    """Return the mean return of greedy episodes from fresh starts."""
    world = CartPole(options.limit, seed=options.seed + 1)
    total = 0.0
    for _ in range(episodes):
        state, over = world.reset(), False
        while not over:
            state, reward, _, over = world.step(greedy(values, state))
            total += reward
    return total / episodes


def main(arguments=None):
    """Train and play; return the results."""
    options = parser(
        __doc__, threads=1, steps=60000, lr=5e-4, width=128, batch=64, discount=0.99,
        capacity=20000, every=2, warmup=1000, explore=10000, follow=0.01, limit=500,
        target=195.0, solved=490.0,
    ).parse_args(arguments)  # fmt: skip
    episodes = 100
    if options.quick:
        options.steps, options.warmup, options.explore, episodes = 300, 64, 200, 3
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    with Run("dqn_cartpole_pytorch", options) as run:
        values = network(options.width)
        torch.optim.Adam(values.parameters())  # the first one imports for seconds
        began = time.perf_counter()
        steps, returns = train(values, options, run)
        rate = steps / (time.perf_counter() - began)
        run.record(library="pytorch", steps=steps, steps_per_second=round(rate))
        run.record(training_return=sum(returns[-100:]) / max(1, len(returns[-100:])))
        run.record(mean_return=play(values, episodes, options))
    return run.results


if __name__ == "__main__":
    main()
