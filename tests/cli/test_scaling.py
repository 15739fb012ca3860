from pathlib import Path

from scaling_run import write_scaling_run

from reasoning.cli.main import main


def test_a_run_s_exams_are_shown_on_the_terminal_and_as_markdown(tmp_path: Path, capsys):
    run = write_scaling_run(tmp_path / "run")
    assert main(["scaling", str(run)]) == 0
    printed = capsys.readouterr().out
    assert "majority@2" in printed and "beam@3" in printed and "frontier" in printed and "Holm" in printed
    assert main(["scaling", str(run / "exam"), "--score", "own", "--markdown"]) == 0
    written = capsys.readouterr().out
    assert "| beam@3" in written and "# Accuracy against tokens" in written


def test_a_folder_without_a_run_and_an_exam_that_is_not_there_are_refused(tmp_path: Path, capsys):
    assert main(["scaling", str(tmp_path)]) == 2
    assert "run.json" in capsys.readouterr().err
    run = write_scaling_run(tmp_path / "run")
    assert main(["scaling", str(run / "final")]) == 2
    assert "no finished exam final; it has exam" in capsys.readouterr().err
