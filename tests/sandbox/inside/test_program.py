from reasoning.sandbox.inside import program
from tests.support.inside import ran


def test_an_answer_runs_as_the_main_program():
    source = "if __name__ == '__main__':\n    print(input(), sorted(n for n in globals() if not n.startswith('__')))"
    done, _ = ran(program.run, source, given="hello")
    assert (done.returncode, done.stdout) == (0, "hello []\n")


def test_what_an_answer_raises_ends_it():
    done, _ = ran(program.run, "def f(:")
    assert done.returncode == 1
    assert "SyntaxError" in done.stderr
