def test_cells_wait_for_the_first_and_take_over_what_it_has_made(checkout):
    assert checkout.launch("slurm", "sweep.gin", "--detach") == 0
    first, *others = [call for call in checkout.calls() if call[0] == "sbatch"]
    assert first[1:] == ["--parsable", str(checkout.folder("sweep") / "sweep-0.sbatch")]
    assert [call[2] for call in others] == ["--dependency=afterany:41"] * 2
    scripts = [(checkout.folder("sweep") / f"sweep-{number}.sbatch").read_text() for number in (0, 1)]
    assert "--take" not in scripts[0] and "--take" in scripts[1]
    assert (checkout.folder("sweep") / f"code-{checkout.record('sweep')['commit'][:12]}/sweep.gin").is_file()


def test_status_logs_and_stop_name_the_jobs(checkout):
    assert checkout.launch("slurm", "small.gin") == 0
    for action in ("status", "logs", "stop"):
        assert checkout.launch("slurm", action, "small") == 0
    log = str(checkout.folder() / "small.log")
    names = [call[0] for call in checkout.calls()]
    assert names == ["squeue", "sbatch", "tail", "squeue", "tail", "scancel"]
    assert checkout.calls()[4][-1] == log and checkout.calls()[-1] == ["scancel", "--me", "--name", "small"]
    assert (checkout.folder() / "small.stopped").exists()  # or the script would have the stopped job requeued


def test_a_failed_submission_says_how_to_be_rid_of_it(checkout, monkeypatch, capsys):
    monkeypatch.setenv("FAIL_ON", "sbatch")
    assert checkout.launch("slurm", "small.gin") == 2
    assert "python -m launch slurm stop small" in capsys.readouterr().err


def test_several_tasks_find_each_other_and_one_does_not_try(checkout):
    assert checkout.launch("slurm", "small.gin", "--dry-run", "--nodes", "2", "--gpus-per-node", "4") == 0
    script = (checkout.folder() / "small.sbatch").read_text()
    assert "#SBATCH --nodes=2" in script and "#SBATCH --ntasks-per-node=4" in script
    assert 'REASONING_COORDINATOR=auto REASONING_PROCESSES="$SLURM_NTASKS"' in script
    assert checkout.launch("slurm", "small.gin", "--dry-run") == 0
    assert "REASONING_COORDINATOR" not in (checkout.folder() / "small.sbatch").read_text()
