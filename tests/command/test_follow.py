"""``ghostpoint diagnose --follow``: the verdict on a file while it is written."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from ghostpoint.command.diagnose import follow_file


def lines(first, losses):
    return "".join(json.dumps({"step": first + k, "loss": loss}) + "\n" for k, loss in enumerate(losses))


def test_it_waits_for_the_file_and_speaks_when_the_verdict_changes(tmp_path):
    path = tmp_path / "log.jsonl"
    noise = np.random.default_rng(0).normal(size=400) * 0.001
    flat, drop = (1 + noise[:150]).tolist(), (1 / (1 + np.exp((np.arange(150) - 30) / 3)) + noise[150:300]).tolist()
    # what is in the file at each look; None is the end
    looks = iter(["", lines(0, flat[:100]), lines(100, flat[100:]), lines(150, drop), None])
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        text = next(looks)
        if text is None:
            raise KeyboardInterrupt
        with path.open("a") as file:
            file.write(text)

    said = []
    with pytest.raises(KeyboardInterrupt):
        said.extend(follow_file(path, sleep=sleep, wait=0.5, as_json=True))
    assert len(waits) == 5
    assert min(waits) >= 0.5
    # extend keeps what came before the interrupt
    assert [json.loads(text)["runs"][0]["verdict"] for text in said] == ["plateau at chance", "abrupt learning"]


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_the_command_ends_with_ctrl_c(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text(lines(0, [1.0] * 60))
    program = [sys.executable, "-u", "-m", "ghostpoint", "diagnose", "--follow", str(path)]
    running = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    first = running.stdout.readline()
    time.sleep(0.3)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert first.startswith("plateau at chance")
    assert (running.returncode, errors) == (0, "")
