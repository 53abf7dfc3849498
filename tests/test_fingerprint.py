"""The fingerprint sees what changes a result, and nothing else: in a small package, and in this
one.
"""

import re
import shutil
from pathlib import Path

import pytest

import ghostpoint
from ghostpoint.experiments import IDS, get
from ghostpoint.experiments.shared import parts
from ghostpoint.fingerprint import Sources, fingerprint

#: the module that keeps parts, and its file in the package
KEEPER = parts.__name__
KEEPER_FILE = f"{KEEPER.removeprefix('ghostpoint.').replace('.', '/')}.py"

#: a package of the same rooms as this one, small enough to read
FILES = {
    "__init__.py": "from ghostpoint.training import train\n",
    "_version.py": '__version__ = "1"\n',
    "storage.py": "def save(x):\n    return x\n",
    "tasks/__init__.py": "from ghostpoint.tasks.cue import Cue\n",
    "tasks/cue.py": "class Cue:\n    steps = 3\n",
    "training/__init__.py": "from ghostpoint.training.engine import train\n",
    "training/engine.py": """
        import numpy as np
        from ghostpoint.training.kernels import fast

        def train(x):
            return fast(np.asarray(x))
        """,
    "training/kernels.py": "def fast(x):\n    return 2 * x\n",
    "experiments/__init__.py": "IDS = ()\n",
    KEEPER_FILE: """
        from ghostpoint.storage import save

        def part(make):
            return save(make())
        """,
    "experiments/common.py": f'''
        """What experiments share."""

        from {KEEPER} import part
        from ghostpoint.tasks import Cue
        from ghostpoint.training import train

        #: how often
        TIMES = 4
        TABLE = dict()
        TABLE["a"] = 1

        if TIMES:
            SWITCH = 1

        def helper(x):
            """Train, many times."""
            return part(lambda: [train(x * TABLE["a"]) for _ in range(TIMES * SWITCH)])

        def judge(x):
            return x > 0

        def other(x):
            return x
        ''',
    "experiments/one.py": """
        from ghostpoint.experiments.common import helper, judge
        from ghostpoint.tasks import Cue

        RATE = 0.1  # the published one

        def run(parameters):
            \"\"\"Do it.\"\"\"
            return _step(Cue.steps)

        def _step(n):
            return helper(RATE * n)

        def claims(dataset):
            return judge(dataset)
        """,
    "figures/one.py": "def draw(dataset):\n    return dataset\n",
}


def unindented(text):
    lines = text.lstrip("\n").rstrip(" ").split("\n")
    indent = len(lines[0]) - len(lines[0].lstrip())
    return "\n".join(line[indent:] for line in lines)


@pytest.fixture
def package(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(unindented(text))
    return tmp_path


def of_run(root):
    return Sources(root).fingerprint("ghostpoint.experiments.one", "run")


def edit(root, name, old, new):
    path = root / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        pytest.param("training/kernels.py", "2 * x", "2.0 * x", id="kernel"),
        pytest.param("training/engine.py", "fast(np", "-fast(np", id="engine"),
        pytest.param("tasks/cue.py", "steps = 3", "steps = 4", id="task"),
        pytest.param("experiments/one.py", "RATE = 0.1", "RATE = 0.2", id="constant"),
        pytest.param("experiments/one.py", "RATE * n", "RATE + n", id="step of the experiment"),
        pytest.param("experiments/common.py", "TIMES = 4", "TIMES = 5", id="constant of a helper"),
        pytest.param("experiments/common.py", 'train(x * TABLE["a"])', "train(x)", id="helper"),
        pytest.param("experiments/common.py", 'TABLE["a"] = 1', 'TABLE["a"] = 2', id="entry of a table"),
        pytest.param("experiments/common.py", "SWITCH = 1", "SWITCH = 2", id="constant in a condition"),
        pytest.param(
            "experiments/common.py", "TABLE = dict()\n", "TABLE = dict()\nTABLE.update(b=2)\n", id="call on a table"
        ),
        pytest.param("experiments/one.py", "common import helper", "common import other as helper", id="other helper"),
    ],
)
def test_a_change_of_what_is_computed_is_seen(package, name, old, new):
    before = of_run(package)
    edit(package, name, old, new)
    assert of_run(package) != before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        pytest.param("experiments/one.py", "# the published one", "# another comment", id="comment"),
        pytest.param("experiments/one.py", '"""Do it."""', '"""Do it well."""', id="docstring"),
        pytest.param("experiments/common.py", '"""What experiments share."""', "", id="docstring of a module"),
        pytest.param("training/kernels.py", "2 * x", "(\n        2 * x\n    )", id="line breaks"),
        pytest.param("experiments/one.py", "import helper, judge", "import judge, helper", id="order of names"),
        pytest.param("experiments/one.py", "from ghostpoint.tasks import Cue", "import math\nfrom ghostpoint.tasks.cue import Cue", id="imports"),  # noqa: E501
        pytest.param("experiments/one.py", "judge(dataset)", "not judge(dataset)", id="claims"),
        pytest.param("experiments/common.py", "x > 0", "x > 1", id="what only claims use"),
        pytest.param("experiments/common.py", "return x\n", "return -x\n", id="another helper"),
        pytest.param(KEEPER_FILE, "save(make())", "save(save(make()))", id="how parts are kept"),
        pytest.param("figures/one.py", "return dataset", "return None", id="figure"),
        pytest.param("_version.py", '"1"', '"2"', id="version"),
    ],
)  # fmt: skip
def test_what_computes_nothing_is_not_seen(package, name, old, new):
    before = of_run(package)
    edit(package, name, old, new)
    assert of_run(package) == before


def test_a_moved_file_is_not_seen(package):
    before = of_run(package)
    (package / "training/kernels.py").rename(package / "training/fast_kernels.py")
    edit(package, "training/engine.py", "training.kernels", "training.fast_kernels")
    (package / "experiments/more").mkdir()
    (package / "experiments/more/__init__.py").touch()
    (package / "experiments/common.py").rename(package / "experiments/more/helpers.py")
    edit(package, "experiments/one.py", "experiments.common", "experiments.more.helpers")
    assert of_run(package) == before


@pytest.mark.parametrize(
    "how",
    [
        "from ghostpoint.training.engine import train",
        "from ghostpoint import train",
        "from ghostpoint import training",
        "from ..training import train",
        "import ghostpoint.training.engine",
        "import ghostpoint.training as training",
        "import ghostpoint",
    ],
)
def test_a_kernel_is_reached_whatever_the_import_looks_like(package, how):
    bound = how.split()[-1].split(".")[0]
    edit(package, "experiments/common.py", "from ghostpoint.training import train", how)
    edit(package, "experiments/common.py", "[train(", f"[{bound}.train(")
    before = of_run(package)
    edit(package, "training/kernels.py", "2 * x", "3 * x")
    assert of_run(package) != before


def test_what_has_no_name_in_the_package_is_refused():
    def closure():
        pass

    for function in (lambda: None, closure, Sources.fingerprint):
        with pytest.raises(ValueError, match="function must be defined in a module, by name, got"):
            fingerprint(function)
    with pytest.raises(ValueError, match=r"must be defined in a module of ghostpoint, got 'copytree' of 'shutil'"):
        fingerprint(shutil.copytree)


# this package

SOURCE = Path(ghostpoint.__file__).parent
TRAINING = {"latent_dcdt", "full_dmts", "rates_rank_one", "ranks", "confidence", "intervention", "remedies"}


def of_all(root):
    sources = Sources(root)
    return {id: sources.fingerprint(get(id).run.__module__, get(id).run.__name__) for id in IDS}


@pytest.fixture(scope="module")
def before():
    return of_all(SOURCE)


@pytest.fixture
def copied(tmp_path):
    return shutil.copytree(SOURCE, tmp_path / "ghostpoint", ignore=shutil.ignore_patterns("__pycache__"))


def changed(root, before):
    return {id for id, value in of_all(root).items() if value != before[id]}


@pytest.mark.parametrize("room", ["training/kernels", "tasks", "models"])
def test_a_changed_line_in_a_room_changes_every_experiment_that_trains(copied, before, room):
    files = sorted((copied / room).rglob("*.py"))
    path = files[len(files) // 2]
    path.write_text(path.read_text() + "\nADDED = 1\n")
    assert changed(copied, before) >= TRAINING, path


def test_claims_figures_and_the_command_change_no_run(copied, before):
    count = 0
    for path in (copied / "experiments").rglob("*.py"):
        text, n = re.subn(r"(def \w*claims?\(.*?\) -> list\[Claim\]:\n)", r"\1    0\n", path.read_text(), flags=re.S)
        path.write_text(text)
        count += n
    assert count >= len(IDS)
    for path in [*(copied / "figures").rglob("*.py"), *copied.glob("*repro*.py"), *copied.rglob("cli.py")]:
        path.write_text(path.read_text() + "\nADDED = 1\n")
    assert not changed(copied, before)


def test_the_fingerprint_of_the_loaded_package_is_that_of_its_files(before):
    assert {id: fingerprint(get(id).run) for id in IDS} == before
    assert all(re.fullmatch("[0-9a-f]{16}", value) for value in before.values())
    assert len(set(before.values())) > len(IDS) / 2
