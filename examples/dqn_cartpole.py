"""Deep Q-learning on the cart and pole: many small steps, where overhead decides.

A network Q(s, ·) estimates the discounted return of both actions in state s. It is
fitted to Bellman's equation on transitions (s, a, r, s') drawn from a replay buffer,

    L = huber(Q(s, a) - (r + discount (1 - fell) Q̂(s', argmax_a' Q(s', a'))))

with the target network Q̂ a copy of Q that follows it slowly, a share ``--follow`` of
the way each step (Mnih et al., "Human-level control through deep reinforcement
learning", Nature 518, 2015). That Q chooses the next action and Q̂ values it keeps the
estimates from growing (van Hasselt et al., "Deep Reinforcement Learning with Double
Q-learning", AAAI 2016). Actions are greedy but for a share at random, which falls to 5%
during the first ``--explore`` steps. An episode that is cut off by its limit has not
fallen: its last state keeps its value.

Training stops when ten greedy episodes have a mean return of ``--solved``; they are
played, every tenth episode, once the last 100 have reached ``--target`` with their
random actions. The result is the mean of 100 fresh greedy episodes. Every step of the
environment asks the network for one state's values and every second one takes an
optimizer step on 64 transitions: tensors so small that the library's overhead is what
costs. ``examples/pytorch/dqn_cartpole.py`` is the same in PyTorch.

The training loop is that of the course's lectures 5 and 6; the environment is
``examples/cartpole.py``.

Run it: ``python examples/dqn_cartpole.py``
"""

import random
import time

from cartpole import CartPole
from harness import Run, parser

import tensorlib as tl
from tensorlib import nn, optim


def network(width):
    """Return Q: states ``(N, 4)`` to the values of two actions ``(N, 2)``."""
    return nn.Sequential(
        nn.Linear(CartPole.features, width), nn.ReLU(),
        nn.Linear(width, width), nn.ReLU(),
        nn.Linear(width, CartPole.actions),
    )  # fmt: skip


class ReplayBuffer:
    """The last `capacity` transitions, in tensors allocated once."""

    def __init__(self, capacity, seed, device="cpu"):
        columns = [
            tl.zeros((capacity, CartPole.features)),
            tl.zeros((capacity, 1), dtype=tl.int64),
            tl.zeros((capacity, 2)),  # reward, 1 if the pole fell
            tl.zeros((capacity, CartPole.features)),
        ]
        self.columns = [column.to(device) for column in columns]
        self.capacity = capacity
        self.count = 0
        self.generator = tl.Generator(seed)

    def add(self, state, action, outcome, following):
        """Store a transition; the oldest makes room."""
        row = self.count % self.capacity
        for column, value in zip(
            self.columns, (state, (action,), outcome, following), strict=True
        ):
            column[row] = tl.tensor(value, dtype=column.dtype).to(column.device)
        self.count += 1

    def sample(self, size):
        """Return `size` transitions drawn with replacement, a tensor a column."""
        held = min(self.count, self.capacity)
        rows = tl.randint(0, held, (size,), generator=self.generator)
        rows = rows.to(self.columns[0].device)
        return [tl.take(column, rows, axis=0) for column in self.columns]


def greedy(values, state):
    """Return the action of the highest value in `state`."""
    with tl.no_grad():
        x = tl.tensor(state).to(values[0].weight.device)
        left, right = values(x).tolist()
    return int(right > left)


def loss_of(values, frozen, batch, discount):
    """Return the Huber loss of Bellman's equation, shape ``()``."""
    state, action, outcome, following = batch
    reward, fell = outcome[:, 0], outcome[:, 1]
    with tl.no_grad():
        likely = values(following).argmax(axis=1, keepdims=True)
        best = tl.take_along_axis(frozen(following), likely, axis=1).squeeze(1)
        target = reward + discount * (1.0 - fell) * best
    chosen = tl.take_along_axis(values(state), action, axis=1).squeeze(1)
    return nn.functional.huber_loss(chosen, target)


def follow(frozen, values, share):
    """Move the target network a share of the way to the other."""
    with tl.no_grad():
        for slow, quick in zip(frozen.parameters(), values.parameters(), strict=True):
            slow += share * (quick - slow)


def train(values, options, run):
    """Learn until the target or the last step; return the steps done and returns."""
    frozen = network(options.width).to(run.device)
    frozen.load_state_dict(values.state_dict())
    optimizer = optim.Adam(values.parameters(), lr=options.lr)
    buffer = ReplayBuffer(options.capacity, options.seed, run.device)
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
            loss = loss_of(values, frozen, batch, options.discount)
            loss.backward()
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


def draw(figure, returns):
    """Draw the returns of the episodes and their mean over the last 100."""
    axes = figure.subplots()
    axes.plot(returns, ".", markersize=3, label="episode")
    means = [sum(returns[max(0, n - 99) : n + 1]) / min(n + 1, 100)
             for n in range(len(returns))]  # fmt: skip
    axes.plot(means, label="mean of the last 100")
    axes.axhline(195, color="grey", linewidth=0.8)
    axes.set(xlabel="episode", ylabel="return", title="DQN on CartPole")
    axes.legend()


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
    with Run("dqn_cartpole", options) as run:
        values = network(options.width).to(run.device)
        began = time.perf_counter()
        steps, returns = train(values, options, run)
        rate = steps / (time.perf_counter() - began)
        run.record(library="tensorlib", steps=steps, steps_per_second=round(rate))
        run.record(training_return=sum(returns[-100:]) / max(1, len(returns[-100:])))
        run.record(mean_return=play(values, episodes, options))
        run.picture("returns", lambda figure: draw(figure, returns))
        run.save(values)
    return run.results


if __name__ == "__main__":
    main()
