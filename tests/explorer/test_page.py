import hashlib
import json
import re
import tempfile
import threading
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

import ghostpoint as gp
from ghostpoint.command import explore
from ghostpoint.command.cli import run
from ghostpoint.command.explore import server
from ghostpoint.errors import InputError
from ghostpoint.explorer import page, read_saved
from ghostpoint.slow_points.latents import flow_zeros

SOURCES = Path(__file__).parents[2] / "explorer"


@pytest.fixture(scope="module")
def trained():
    models = gp.LowRankRNN.published([3, 40])
    return gp.train(models, gp.tasks.DelayedActivation(), 0.2, 600, checkpoints=[0, 300, 599])


def runs_in(text):
    return json.loads(re.search(r'id="saved-runs">(.*?)</script>', text, re.DOTALL)[1])


def test_the_page_is_small_and_needs_nothing_from_elsewhere():
    text = page()
    assert len(text.encode()) < 700_000
    assert not re.search(r'<(?:script|img|iframe|object)[^>]* src=|<link[^>]* href="(?!data:)|@import|url\(http', text)
    # the browser itself lets it connect to nothing but the command that serves it
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)[1].split("; ")
    assert {"default-src 'none'", "connect-src 'self'", "img-src data: blob:"} <= set(policy)
    assert not re.search(r"\b(?:XMLHttpRequest|WebSocket|EventSource|sendBeacon)\b", text)
    assert len(re.findall(r"\bfetch\b", text)) == 1


def test_the_page_is_bundled_from_the_sources_as_they_are():
    names = [path for part in ("src", "data") for path in (SOURCES / part).rglob("*") if path.is_file()]
    names = sorted([path.relative_to(SOURCES).as_posix() for path in names] + ["package.json"])
    digest = hashlib.sha256()
    for name in names:
        digest.update(f"{name}\n".encode() + (SOURCES / name).read_bytes())
    found = re.search(r'name="sources" content="(\w+)"', page())[1]
    assert found == digest.hexdigest(), "run `npm ci && npm run build` in explorer/"


def test_a_saved_run_is_in_the_page_with_its_events_and_diagnosis(trained, tmp_path):
    saved = read_saved(trained.save(tmp_path / "run.zip"))
    (shown,) = runs_in(page(saved))["runs"]
    assert shown["name"] == "run.zip"
    assert shown["epoch"] == list(range(600))
    assert [each["name"] for each in shown["networks"]] == ["seed 3, rate 0.2", "seed 40, rate 0.2"]
    for k, network in enumerate(shown["networks"]):
        assert network["loss"] == pytest.approx(trained.history["loss"].values[k].tolist(), rel=1e-5)
        for name, at in network["events"].items():
            assert at == trained.events[name].values[k]
        finding = gp.diagnose(trained).findings[k]
        assert (network["verdict"], network["advice"]) == (finding.verdict, finding.advice)
        assert [phase["name"] for phase in network["phases"]] == [phase.name for phase in finding.phases]


def test_slow_points_of_the_page_are_those_of_the_library(trained, tmp_path):
    (shown,) = read_saved(trained.save(tmp_path / "run.zip"))["runs"]
    assert shown["checkpoints"] == [0, 300, 599]
    for k, network in enumerate(shown["networks"]):
        for row, points in enumerate(network["points"]):
            zeros = flow_zeros(trained.models_at(row)[[k]])
            kinds = [("stable" if rests else "unstable") for rests in zeros.stable[0, : zeros.count[0]]]
            here = [point for point in points if point["kind"] != "ghost"]
            assert [point["kind"] for point in here] == kinds
            positions = [point["position"][0] for point in here]
            assert positions == pytest.approx(zeros.position[0, : zeros.count[0]].tolist(), rel=1e-5)


def test_rank_two_has_points_in_the_plane(tmp_path):
    task = gp.tasks.DelayedCueDiscrimination(10.0, 50.0, 50.0, copies=2, initial_scale=0.3)
    trained = gp.train(gp.LowRankRNN.published([0], "4A"), task, 0.001, 3, checkpoints=[0, 2])
    (shown,) = read_saved(trained.save(tmp_path / "run.zip"))["runs"]
    assert shown["rank"] == 2
    assert all(len(point["position"]) == 2 for points in shown["networks"][0]["points"] for point in points)


def test_a_folder_of_runs_and_a_log_of_another_tool(trained, tmp_path):
    trained.save(tmp_path / "runs" / "a.zip")
    trained.save(tmp_path / "runs" / "deep" / "b.zip")
    assert [each["name"] for each in read_saved(tmp_path / "runs")["runs"]] == ["a.zip", str(Path("deep/b.zip"))]
    log = tmp_path / "log.csv"
    losses = np.concatenate([np.full(100, 2.3), np.linspace(2.3, 0.1, 10), np.full(100, 0.1)])
    log.write_text("step,loss\n" + "\n".join(f"{k},{v}" for k, v in enumerate(losses)))
    (shown,) = read_saved(log)["runs"]
    assert shown["networks"][0]["loss"] == pytest.approx(losses.tolist(), rel=1e-5)
    assert shown["networks"][0]["verdict"]
    assert shown["networks"][0]["name"] == "log.csv"


def test_a_name_cannot_end_the_script_that_holds_it():
    saved = {"runs": [{"name": "</script><script>alert(1)</script>"}]}
    text = page(saved)
    assert text.count("</script>") == page().count("</script>")
    assert runs_in(text) == saved


@pytest.mark.parametrize("name", ["nothing", "empty"])
def test_what_cannot_be_read_is_named(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=name):
        read_saved(tmp_path / name)


@pytest.fixture
def ask():
    """Ask a server of the page; the status and the content of its answer."""
    with server("<p>page</p>") as serving:
        host, port = serving.server_address[:2]
        assert host == "127.0.0.1"
        threading.Thread(target=serving.serve_forever, daemon=True).start()

        def ask(address, file=None, origin="http://127.0.0.1:{port}", **headers):
            if file is not None:
                headers["Origin"] = origin.format(port=port)
            request = urllib.request.Request(f"http://127.0.0.1:{port}{address}", file, headers)
            try:
                with urllib.request.urlopen(request) as answer:
                    return answer.status, answer.read()
            except urllib.error.HTTPError as error:
                return error.code, error.read()

        yield ask
        serving.shutdown()


LOG = b"step,loss\n" + b"".join(b"%d,%.3f\n" % (k, 2.3 if k < 100 else 0.1) for k in range(200))


def test_the_server_answers_this_machine_and_one_address(ask):
    assert ask("/?x=1") == (200, b"<p>page</p>")
    assert ask("/etc/passwd")[0] == 404
    # a name of another site that points at this machine
    assert ask("/", Host="example.org") == (403, b"")
    assert ask("/", Host="localhost:8000")[0] == 200


def test_the_server_reads_and_diagnoses_a_file(ask, tmp_path):
    status, content = ask("/read?name=my%20log.csv", LOG)
    assert status == 200
    (tmp_path / "my log.csv").write_bytes(LOG)
    assert json.loads(content) == read_saved(tmp_path / "my log.csv")
    assert json.loads(content)["runs"][0]["networks"][0]["verdict"] == "abrupt learning"


@pytest.mark.parametrize("name", ["../../../log.csv", "..%5C..%5Clog.csv", "/etc/log.csv", "log.csv%00", "..log.csv"])
def test_a_name_cannot_lead_out_of_the_folder(ask, name):
    status, content = ask(f"/read?name={name}", LOG)
    assert status == 200
    assert json.loads(content)["runs"][0]["name"] == "log.csv"


@pytest.mark.parametrize("origin", ["null", "http://example.org", "https://127.0.0.1:{port}", ""])
def test_no_other_page_may_have_a_file_read(ask, origin):
    assert ask("/read?name=log.csv", LOG, origin)[0] == 403


def test_what_the_server_cannot_read_is_said_in_words(ask, monkeypatch):
    status, content = ask("/read?name=note.txt", b"nothing of that kind")
    assert status == 400
    assert "note.txt" in json.loads(content)["error"]
    assert tempfile.gettempdir() not in json.loads(content)["error"]
    assert ask("/other", LOG)[0] == 404
    monkeypatch.setattr(explore, "MOST_BYTES", 1 << 20)
    status, content = ask("/read?name=log.csv", bytes((1 << 20) + 1))
    assert status == 413
    assert "1 MB" in json.loads(content)["error"]


def test_the_command_writes_a_page_that_stands_alone(trained, tmp_path, capsys):
    saved = trained.save(tmp_path / "run.zip")
    assert run(["explore", str(saved), "--out", str(tmp_path / "page.html")]) == 0
    assert "page.html" in capsys.readouterr().out
    assert runs_in((tmp_path / "page.html").read_text(encoding="utf-8"))["runs"][0]["name"] == "run.zip"


def test_the_command_refuses_what_is_not_there(tmp_path, capsys):
    assert run(["explore", str(tmp_path / "nothing.zip")]) == 2
    assert "nothing.zip" in capsys.readouterr().err
