import errno
import json

from reasoning.cli import report
from reasoning.cli.main import main


def test_a_run_can_be_reported_later_and_other_models_compared(project, capsys):
    assert main(project.arguments) == 0
    capsys.readouterr()
    assert main(["report", str(project.out)]) == 0
    whole = capsys.readouterr().out
    assert "base says 2" in whole and "0.50±.25" in whole and "steps 6" in whole
    page = (project.out / "report.html").read_text()
    assert "base says 2" in page and "0.250–0.750" in page
    assert main(["report", str(project.out), "--compare", "zero"]) == 0
    assert "base says 2" not in capsys.readouterr().out
    assert "base says 2" not in (project.out / "report.html").read_text()


def test_a_folder_that_is_no_run_and_an_unknown_model_are_refused(project, capsys, tmp_path):
    assert main(["report", str(tmp_path)]) == 2
    assert "not a run's folder" in capsys.readouterr().err
    assert main(project.arguments) == 0
    capsys.readouterr()
    assert main(["report", str(project.out), "--compare", "r1"]) == 2
    assert "no checkpoint r1" in capsys.readouterr().err


def test_a_damaged_run_is_reported_with_what_is_missing(project, capsys):
    assert main(project.arguments) == 0
    [results] = project.out.glob("artifacts/exam-*/results.json")
    results.write_text("{")
    run = project.out / "run.json"
    entries = json.loads(run.read_text())
    del entries["sha256"]  # As an earlier version wrote it.
    entries["stages"][1]["finished"] = False
    run.write_text(json.dumps(entries))
    capsys.readouterr()
    assert main(["report", str(project.out)]) == 0
    printed = capsys.readouterr().out
    assert "results.json:1: not JSON" in printed and "stage zero has not finished" in printed
    assert "results.json:1: not JSON" in (project.out / "report.md").read_text()


def test_a_damaged_list_of_stages_is_refused(project, capsys):
    assert main(project.arguments) == 0
    (project.out / "run.json").write_text("{")
    assert main(["report", str(project.out)]) == 2
    assert "run.json" in capsys.readouterr().err


def test_a_run_that_may_only_be_read_is_shown_without_a_page(monkeypatch, capsys):
    def refuse(folder, facts, names):
        raise PermissionError(errno.EACCES, "Permission denied", "somewhere/report.md")

    monkeypatch.setattr(report, "gather", lambda folder: None)
    monkeypatch.setattr(report, "check_examined", lambda facts, names: None)
    monkeypatch.setattr(report, "show", lambda console, facts, names: console.print("the tables"))
    monkeypatch.setattr(report, "write", refuse)
    assert report.main(["somewhere"]) == 0
    printed = capsys.readouterr()
    assert "the tables" in printed.out
    assert printed.err == "no page was written: somewhere/report.md can't be: Permission denied\n"
