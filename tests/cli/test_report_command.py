from reasoning.cli.main import main


def test_a_run_can_be_reported_later_and_other_models_compared(project, capsys):
    assert main(project.arguments) == 0
    capsys.readouterr()
    assert main(["report", str(project.out)]) == 0
    whole = capsys.readouterr().out
    assert "base says 2" in whole and "0.250–0.750" in whole and "steps 6" in whole
    assert main(["report", str(project.out), "--compare", "zero"]) == 0
    assert "base says 2" not in capsys.readouterr().out


def test_a_folder_that_is_no_run_and_an_unknown_model_are_refused(project, capsys, tmp_path):
    assert main(["report", str(tmp_path)]) == 2
    assert "not a run's folder" in capsys.readouterr().err
    assert main(project.arguments) == 0
    capsys.readouterr()
    assert main(["report", str(project.out), "--compare", "r1"]) == 2
    assert "no checkpoint r1" in capsys.readouterr().err
