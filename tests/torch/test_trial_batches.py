"""Environments with NeuroGym's interface as data sets: by shape, and with the real package where it
is installed.
"""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.utils.data import DataLoader  # noqa: E402

from ghostpoint.torch import TrialBatches  # noqa: E402


class Env:
    """Two periods; the delay is 2 or 3 steps long, and the answer is the sign that was shown."""

    values = False

    def __init__(self):
        self.seed(None)

    def seed(self, seed):
        self.rng = np.random.RandomState(seed)

    def new_trial(self, shown=None):
        delay, sign = self.rng.randint(2, 4), self.rng.randint(2) if shown is None else shown
        self.start_ind, self.end_ind = {"delay": 0, "decision": delay}, {"delay": delay, "decision": delay + 2}
        self.ob = np.zeros((delay + 2, 3), np.float32)
        self.ob[0, sign] = 1
        self.gt = np.zeros(delay + 2, np.int64)
        self.gt[delay:] = sign + 1
        if self.values:
            self.gt = np.eye(3)[self.gt]


class Wrapper:
    def __init__(self, env):
        self.unwrapped = env


def test_a_batch_is_filled_up_and_counts_the_named_periods():
    batch = TrialBatches(Wrapper(Env()), trials=8, batches=1, counted=["decision"], seed=1).batch(0)
    assert batch.inputs.shape == (8, 5, 3)
    assert batch.targets.shape == batch.mask.shape == (8, 5)
    assert batch.mask.sum(1).tolist() == [2] * 8
    assert (batch.targets[batch.mask] > 0).all()
    assert (batch.targets[~batch.mask] == 0).all()
    lengths = batch.mask.int().argmax(1) + 2
    assert set(lengths.tolist()) == {4, 5}
    everything = TrialBatches(Env(), trials=8, batches=1, seed=1).batch(0)
    assert torch.equal(everything.inputs, batch.inputs)
    assert everything.mask.sum(1).tolist() == lengths.tolist()  # the filling never counts


def test_batches_are_drawn_by_their_number_and_workers_take_turns():
    whole = [batch.inputs for batch in TrialBatches(Env(), 4, 5, seed=3)]
    assert not torch.equal(whole[0], whole[1])
    loader = DataLoader(TrialBatches(Env(), 4, 5, seed=3), batch_size=None, num_workers=2)
    assert all(torch.equal(a, b.inputs) for a, b in zip(whole, loader, strict=True))
    again = TrialBatches(Env(), 4, 5, seed=3)
    list(again)
    assert torch.equal(next(iter(again)).inputs, again.batch(5).inputs)


def test_losses_are_cross_entropy_of_classes_and_squared_error_of_values():
    env = Env()
    batch = TrialBatches(env, 4, 1, counted=["decision"]).batch(0)
    logits = torch.randn(4, batch.inputs.shape[1], 3)
    expected = -logits.log_softmax(-1).gather(-1, batch.targets[..., None])[..., 0][batch.mask].mean()
    torch.testing.assert_close(batch.loss(logits), expected)
    env.values = True
    values = TrialBatches(env, 4, 1, counted=["decision"]).batch(0)
    assert values.targets.dtype == torch.float32
    torch.testing.assert_close(values.loss(logits), ((logits - values.targets) ** 2)[batch.mask].mean())


def test_options_go_to_new_trial():
    assert (TrialBatches(Env(), 6, 1, shown=1).batch(0).inputs[:, 0, 1] == 1).all()


def test_what_is_no_such_environment_is_named():
    with pytest.raises(ValueError, match=r"env must have new_trial\(\), as NeuroGym's .*; got int"):
        TrialBatches(3, 1, 1)
    with pytest.raises(ValueError, match=r"periods of the trial \(delay, decision\), got answer"):
        TrialBatches(Env(), 1, 1, counted=["answer"]).batch(0)
    with pytest.raises(ValueError, match="counted must be names of periods in a list, got the text 'decision'"):
        TrialBatches(Env(), 1, 1, counted="decision")


@pytest.mark.parametrize(
    "name",
    ["PerceptualDecisionMaking-v0", "DelayMatchSample-v0", "ContextDecisionMaking-v0", "ReachingDelayResponse-v0"],
)
def test_the_real_package(name):
    neurogym = pytest.importorskip("neurogym", reason="needs NeuroGym: python3 dev.py frameworks")
    import gymnasium

    env = gymnasium.make(name, dt=50)
    period = "decision" if "decision" in env.unwrapped.timing else list(env.unwrapped.timing)[-1]
    batches = TrialBatches(env, trials=3, batches=2, counted=[period], seed=5)
    batch = batches.batch(1)
    assert batch.inputs.shape[::2] == (3, env.observation_space.shape[0])
    discrete = isinstance(env.action_space, gymnasium.spaces.Discrete)
    assert batch.targets.dtype == (torch.int64 if discrete else torch.float32)
    assert batch.mask.any(1).all()
    # the same trials by the package's own hands
    own = gymnasium.make(name, dt=50).unwrapped
    own.seed(int(np.random.SeedSequence((5, 1)).generate_state(1)[0]))
    for k in range(3):
        own.new_trial()
        steps = len(own.ob)
        np.testing.assert_array_equal(batch.inputs[k, :steps].numpy(), own.ob.astype(np.float32))
        np.testing.assert_array_equal(batch.targets[k, :steps].numpy(), own.gt)
        counted = np.zeros(batch.mask.shape[1], bool)
        counted[own.start_ind[period] : own.end_ind[period]] = True
        np.testing.assert_array_equal(batch.mask[k].numpy(), counted)
    assert neurogym
    sizes = int(env.action_space.n) if discrete else env.action_space.shape[0]
    assert torch.isfinite(batch.loss(torch.zeros(*batch.mask.shape, sizes)))


class Backwards:
    """A wrapper whose trials are not those of what it stands around."""

    def __init__(self, env):
        self.env = env

    @property
    def unwrapped(self):
        return self.env.unwrapped

    def new_trial(self, **options):
        self.env.new_trial(**options)
        self.unwrapped.gt = self.unwrapped.gt[::-1].copy()


def test_trials_are_those_of_the_outermost_wrapper_that_makes_them():
    inner = Env()
    inner.unwrapped = inner
    plain = TrialBatches(inner, 4, 1, seed=2).batch(0)
    for wrapped in (Backwards(inner), Backwards(Backwards(Backwards(inner)))):
        batch = TrialBatches(wrapped, 4, 1, seed=2).batch(0)
        assert torch.equal(batch.inputs, plain.inputs)
        for turned, straight, mask in zip(batch.targets, plain.targets, plain.mask, strict=True):
            assert torch.equal(turned[mask], straight[mask].flip(0))


class Blurred(Wrapper):
    """A wrapper that changes each observation as it is asked for."""

    def step(self, action):
        ob, *rest = self.unwrapped.step(action)
        return (ob + 1, *rest)


class TimeLimit(Wrapper):
    def step(self, action):
        return self.unwrapped.step(action)


class Core:
    """As in Gymnasium, what is wrapped and wrappers have ``step`` from their parent."""

    def step(self, action):
        raise NotImplementedError


class TrialWrapper(Core):
    def __init__(self, env):
        self.unwrapped = env

    def new_trial(self, **options):
        self.unwrapped.new_trial(**options)

    def step(self, action):
        return self.unwrapped.step(action)


class OfTrials(TrialWrapper):
    """Changes whole trials alone."""

    def new_trial(self, **options):
        super().new_trial(**options)


class OfObservations(TimeLimit):
    def observation(self, observation):
        return -observation


def test_a_wrapper_that_acts_on_single_steps_is_told_of():
    with pytest.warns(RuntimeWarning, match="the wrapper Blurred, which acts on single steps"):
        batches = TrialBatches(Blurred(Env()), trials=4, batches=1, seed=2)
    assert torch.equal(batches.batch(0).inputs, TrialBatches(Env(), trials=4, batches=1, seed=2).batch(0).inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for harmless in (TimeLimit, OfTrials):
            TrialBatches(harmless(Env()), trials=4, batches=1, seed=2)
    with pytest.warns(RuntimeWarning, match="the wrapper OfObservations"):
        TrialBatches(OfObservations(Env()), trials=4, batches=1, seed=2)


@pytest.mark.parametrize("name", ["Noise", "PassAction", "PassReward", "ReactionTime"])
def test_the_real_packages_wrappers_of_steps_are_told_of(name):
    neurogym = pytest.importorskip("neurogym", reason="needs NeuroGym: python3 dev.py frameworks")
    import gymnasium
    from neurogym import wrappers

    env = getattr(wrappers, name)(gymnasium.make("PerceptualDecisionMaking-v0", dt=50))
    with pytest.warns(RuntimeWarning, match=f"the wrapper {name}, which acts on single steps"):
        TrialBatches(env, trials=3, batches=2)
    assert neurogym
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        env = gymnasium.make("PerceptualDecisionMaking-v0", dt=50)
        for harmless in (env, wrappers.RandomGroundTruth(env), wrappers.SideBias(env, probs=[[0.5, 0.5]])):
            TrialBatches(harmless, trials=3, batches=2)


class Uneven(Env):
    """Whole numbers in the first trial, others behind it."""

    count = 0

    def new_trial(self):
        super().new_trial()
        self.count += 1
        self.ob, self.gt = self.ob.astype(int), self.gt.astype(int)
        if self.count > 1:
            self.ob, self.gt = self.ob * 0.7, self.gt * 0.5


def test_values_keep_their_fractions_whatever_the_first_trial_has():
    batch = TrialBatches(Uneven(), 4, 1).batch(0)
    assert batch.targets.dtype == torch.float32
    assert set(batch.targets[1:].unique().tolist()) <= {0.0, 0.5, 1.0}
    assert (batch.inputs[1:].amax((1, 2)) == np.float32(0.7)).all()


class Channels(Env):
    """Values that are whole numbers; and as many channels as one likes."""

    channels = (2,)

    def new_trial(self):
        super().new_trial()
        self.gt = np.stack([self.gt] * self.channels[0], 1)
        self.channels = self.channels[1:] or self.channels


def test_shapes_of_trials_and_outputs_are_checked():
    batch = TrialBatches(Channels(), 4, 1).batch(0)
    assert batch.targets.dtype == torch.float32  # with channels they are values
    assert float(batch.loss(batch.targets)) == 0
    with pytest.raises(ValueError, match=r"outputs must have shape \(4, 5, 2\), got \(4, 5, 1\)"):
        batch.loss(batch.targets[..., :1])
    classes = TrialBatches(Env(), 4, 1).batch(0)
    with pytest.raises(ValueError, match=r"outputs must have shape \(4, 5, class\), got \(5, 4, 3\)"):
        classes.loss(torch.zeros(5, 4, 3))
    env = Channels()
    env.channels = (2, 3)
    with pytest.raises(ValueError, match="same channels"):
        TrialBatches(env, 4, 1).batch(0)


def test_periods_without_steps_count_nothing_and_are_named():
    env = Env()
    make = env.new_trial

    def new_trial():
        make()
        env.end_ind["decision"] = env.start_ind["decision"]

    env.new_trial = new_trial
    with pytest.raises(ValueError, match="counted must name periods with steps, got decision"):
        TrialBatches(env, 2, 1, counted=["decision"]).batch(0)
    env = Env()
    env.seed = None
    assert TrialBatches(env, 2, 1).batch(0).inputs.shape[0] == 2


class Schedule:
    """A wrapper that draws which of its environments makes the next trial."""

    def __init__(self, envs):
        self.envs, self.at = envs, 0
        self.seed(0)

    @property
    def unwrapped(self):
        return self.envs[self.at]

    @property
    def env(self):
        return self.envs[self.at]

    def seed(self, seed):
        self.rng = np.random.RandomState(seed)
        for env in self.envs:
            env.seed(seed)

    def new_trial(self, **options):
        self.at = self.rng.randint(len(self.envs))
        self.env.new_trial(**options)
        self.env.ob[:, 2] = self.at


def test_trials_of_a_schedule_are_those_of_the_task_that_was_drawn():
    schedule = Schedule([Env(), Env(), Env()])
    batch = TrialBatches(schedule, trials=20, batches=2, counted=["decision"], seed=4).batch(1)
    rules = batch.inputs[:, 0, 2].tolist()
    assert set(rules) == {0.0, 1.0, 2.0}
    again = TrialBatches(schedule, trials=20, batches=2, counted=["decision"], seed=4).batch(1)
    assert torch.equal(batch.inputs, again.inputs)
    # by hand
    schedule.seed(int(np.random.SeedSequence((4, 1)).generate_state(1)[0]))
    for ob in batch.inputs:
        schedule.new_trial()
        np.testing.assert_array_equal(ob[: len(schedule.env.ob)].numpy(), schedule.env.ob)


class Sometimes(Env):
    """A period that some trials have; what an earlier trial wrote is left, as in NeuroGym."""

    def __init__(self):
        super().__init__()
        self.start_ind, self.end_ind, self.count = {}, {}, 0

    def new_trial(self):
        starts, ends = self.start_ind, self.end_ind
        super().new_trial()
        if self.count % 2:
            del self.start_ind["delay"], self.end_ind["delay"]
        starts.update(self.start_ind)
        ends.update(self.end_ind)
        self.start_ind, self.end_ind = starts, ends
        self.count += 1


class Constant(Env):
    """Periods that are written once, before all trials."""

    def __init__(self):
        super().__init__()
        self.start_ind, self.end_ind = {"delay": 0, "decision": 2}, {"delay": 2, "decision": 4}

    def new_trial(self):
        periods = self.start_ind, self.end_ind
        super().new_trial()
        self.start_ind, self.end_ind = periods


def test_periods_are_those_of_the_trial():
    with pytest.raises(ValueError, match=r"periods of the trial \(decision\), got delay"):
        TrialBatches(Sometimes(), trials=2, batches=1, counted=["delay"]).batch(0)
    assert TrialBatches(Sometimes(), trials=2, batches=1, counted=["decision"]).batch(0).mask.any(1).all()
    env = Constant()
    batches = TrialBatches(env, trials=5, batches=2, counted=["decision"])
    for number in range(2):
        assert batches.batch(number).mask[:, 2:4].all()
    assert env.start_ind == {"delay": 0, "decision": 2}


class Mixed(Env):
    """A period that was written before all trials, and others of each trial."""

    def __init__(self):
        super().__init__()
        self.start_ind, self.end_ind = {"fixation": 0}, {"fixation": 1}

    def new_trial(self):
        starts, ends = self.start_ind, self.end_ind
        super().new_trial()
        starts.update(self.start_ind)
        ends.update(self.end_ind)
        self.start_ind, self.end_ind = starts, ends


def test_periods_that_hold_for_all_trials_stay():
    batches = TrialBatches(Mixed(), trials=4, batches=2, counted=["fixation", "decision"])
    for number in range(2):
        mask = batches.batch(number).mask
        assert mask[:, 0].all()
        assert mask.sum(1).tolist() == [3] * 4
    for seed in range(6):
        schedule = Schedule([Constant(), Constant(), Env()])
        mask = TrialBatches(schedule, trials=9, batches=1, counted=["decision"], seed=seed).batch(0).mask
        assert (mask.sum(1) == 2).all()
    env = Constant()
    env.new_trial()
    with pytest.raises(TypeError):
        TrialBatches(env, trials=1, batches=1, counted=["decision"], wrong=1).batch(0)
    assert env.start_ind == {"delay": 0, "decision": 2}  # nothing is lost by a trial that fails


def test_values_of_one_channel_have_its_axis():
    batch = TrialBatches(Uneven(), 4, 1).batch(0)
    assert batch.targets.shape == (*batch.mask.shape, 1)
    assert float(batch.loss(batch.targets)) == 0.0
