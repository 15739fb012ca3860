import pytest

from reasoning.core.errors import InputError
from reasoning.pipeline.folder import Entry, write_keeping_earlier, write_run
from reasoning.pipeline.sweeps.folder import SweepFolder
from reasoning.use.run_folder import open_run
from tests.support.small_sweep import SweepProject

SWEEP = "sweep.each = {'width': (2,)}\nsweep.seeds = 2\n"


@pytest.fixture
def project(tmp_path):
    return SweepProject(tmp_path)


@pytest.fixture
def folder(project):
    return SweepFolder(project.out, project.plan(SWEEP))


def lay(folder, run, text=None, finished=True):
    place = folder.run_path(run)
    place.mkdir(parents=True, exist_ok=True)
    write_keeping_earlier(place, run.text if text is None else text, pytest.fail)
    write_run(place, [Entry("zero", "../../../artifacts/zero-0", "0", finished)])


def test_every_run_has_a_folder_by_arm_and_seed(folder, project):
    places = [folder.run_path(run).relative_to(project.out) for run in folder.plan.runs]
    assert [str(place) for place in places] == [
        f"arms/{arm}/seed-{seed}" for seed in (0, 1) for arm in ("baseline", "width=2")
    ]


def test_a_run_is_finished_when_all_stages_of_exactly_its_settings_are(folder):
    run = folder.plan.runs[0]
    assert folder.state(run) == "not finished"
    lay(folder, run, finished=False)
    assert folder.state(run) == "not finished"
    lay(folder, run, text="other settings")
    assert folder.state(run) == "not finished"
    lay(folder, run)
    assert folder.state(run) == "finished"
    assert {folder.state(other) for other in folder.plan.runs[1:]} == {"not finished"}


def test_a_failure_counts_for_its_own_settings_until_the_run_goes_on(folder, project):
    run = folder.plan.runs[1]
    folder.keep_failure(run, "diverged")
    assert folder.state(run) == "failed" and folder.failure(run) == "diverged"
    other = SweepFolder(project.out, project.plan(SWEEP, overrides=("zero.rate=0.7",)))
    assert other.state(other.plan.runs[1]) == "not finished"
    folder.forget_failure(run)
    folder.forget_failure(run)
    assert folder.state(run) == "not finished"


def test_a_damaged_record_of_a_failure_is_refused_by_file(folder):
    run = folder.plan.runs[0]
    folder.keep_failure(run, "diverged")
    (folder.run_path(run) / "failed.json").write_text("[]")
    with pytest.raises(InputError, match=r"failed\.json doesn't say why"):
        folder.state(run)


def test_runs_that_the_sweep_no_longer_has_are_listed(folder, project):
    for run in folder.plan.runs:
        lay(folder, run)
    assert folder.strangers() == ()
    (project.out / ".DS_Store").touch()
    fewer = SweepFolder(project.out, project.plan("sweep.seeds = 1"))
    assert fewer.strangers() == ("baseline/seed-1", "width=2")


def test_another_sweep_in_the_folder_keeps_the_earlier_text_and_table(folder, project):
    project.out.mkdir()
    folder.keep_plan(pytest.fail)
    (project.out / "table.md").write_text("first")
    folder.keep_plan(pytest.fail)
    assert (project.out / "table.md").exists()
    SweepFolder(project.out, project.plan(SWEEP, overrides=("sweep.seeds=3",))).keep_plan(pytest.fail)
    assert not (project.out / "table.md").exists() and (project.out / "table.1.md").read_text() == "first"
    assert "sweep.seeds = 2" in (project.out / "sweep.1.gin").read_text()
    assert "sweep.seeds = 3" in (project.out / "sweep.gin").read_text()


def test_a_sweeps_folder_is_no_runs_folder_and_says_where_its_runs_are(folder, project):
    project.out.mkdir()
    folder.keep_plan(pytest.fail)
    with pytest.raises(InputError, match="is a sweep's folder; open one of its runs"):
        open_run(project.out)
