import os
import re
import socket
from urllib.request import HTTPCookieProcessor, build_opener

import forked
import pytest
from written_run import write_run

from reasoning.cli.main import main


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("view") / "run")


def test_a_run_is_written_as_one_file(run, tmp_path, capsys):
    assert main(["view", str(run), "--export", str(tmp_path / "run.html")]) == 0
    assert "wrote" in capsys.readouterr().out
    assert (tmp_path / "run.html").read_text().startswith("<!doctype html>")


def test_of_several_runs_one_has_to_be_named_for_a_file(run, tmp_path, capsys):
    assert main(["view", str(run.parent), "--export", str(tmp_path / "run.html")]) == 2
    assert "is a folder of runs (1); name one of them" in capsys.readouterr().err


def test_what_cannot_be_shown_or_served_is_refused(run, tmp_path, capsys):
    assert main(["view", str(tmp_path)]) == 2
    assert "is not a run's folder" in capsys.readouterr().err
    assert main(["view", str(run), "--port", "70000"]) == 2
    assert "no port" in capsys.readouterr().err
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["view", str(run), "--port", str(taken.getsockname()[1])]) == 2
    assert "can't be had" in capsys.readouterr().err


def test_it_says_where_it_is_serves_and_ends_by_a_signal(run):
    process = forked.start(["reasoning", "view", str(run), "--at", "stage=zero"], os.environ)
    try:
        while b"\n" not in process.printed[0]:
            assert not process.wait(0.05), process.printed
        address = re.match(r"(http://127\.0\.0\.1:\d+/)(\?key=\S+)#stage=zero shows", process.printed[0].decode())
        assert address is not None
        browser = build_opener(HTTPCookieProcessor())
        browser.open("".join(address.groups()), timeout=20).close()
        with browser.open(f"{address[1]}answers/stages", timeout=20) as answer:
            assert b'"zero"' in answer.read()
    finally:
        process.terminate()
        _, told = process.communicate(timeout=20)
    assert process.returncode == 143 and "Traceback" not in told
