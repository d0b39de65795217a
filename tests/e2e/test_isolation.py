"""What each file has to itself: a temporary directory, a slot, an empty stdin, processes."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.e2e.support.project import Project
from tests.e2e.support.sources import PASSING, script


def test_files_that_run_side_by_side_have_different_slots(project: Project) -> None:
    meet = """
    import pathlib
    here, other = sys.argv[0][-4], 'ab'['ab'.index(sys.argv[0][-4]) - 1]
    pathlib.Path(f'met_{here}').write_text(os.environ['PASSMUSTER_SLOT'])
    deadline = time.monotonic() + 30
    while not pathlib.Path(f'met_{other}').exists():
        assert time.monotonic() < deadline, 'the other file does not run'
        time.sleep(0.01)
    """
    project.write({"tests/test_a.py": script(meet), "tests/test_b.py": script(meet)})
    outcome = project.run("--jobs", "2")
    assert outcome.statuses() == {"tests/test_a.py": "PASS", "tests/test_b.py": "PASS"}, str(outcome)
    slots = {(project.root / f"met_{name}").read_text() for name in "ab"}
    assert slots == {"0", "1"}


def test_slots_are_used_again_and_never_reach_the_number_of_jobs(project: Project) -> None:
    show = script("print(os.environ['PASSMUSTER_SLOT'])")
    project.write({f"tests/test_{number}.py": show for number in range(6)})
    outcome = project.run("--jobs", "2")
    assert {ended.output.strip() for ended in outcome.finished()} <= {"0", "1"}
    assert outcome.code == 0


def test_each_file_has_a_private_empty_tmpdir_that_is_removed(project: Project) -> None:
    use = script(
        """
        import tempfile
        folder = os.environ['TMPDIR']
        assert tempfile.gettempdir() == folder and os.listdir(folder) == []
        assert os.stat(folder).st_mode & 0o777 == 0o700
        os.makedirs(os.path.join(folder, 'deep', 'er'))
        open(os.path.join(folder, 'file'), 'w').write('text')
        print(folder)
        """
    )
    project.write({"tests/test_a.py": use, "tests/test_b.py": use})
    outcome = project.run()
    folders = {Path(ended.output.strip()) for ended in outcome.finished()}
    assert (outcome.code, len(folders)) == (0, 2), str(outcome)
    assert all(folder.is_relative_to(project.tmp) and not folder.exists() for folder in folders)


def test_the_tmpdir_of_a_file_that_fails_is_kept_when_wanted(project: Project) -> None:
    write = "open(os.path.join(os.environ['TMPDIR'], 'trace'), 'w').write('what happened')\n"
    project.write({"tests/test_good.py": script(write), "tests/test_bad.py": script(f"{write}sys.exit(1)")})
    project.may_leave_tmp = True
    outcome = project.run("--keep-tmp", "--oversubscribe", "off")
    kept = outcome.final("tests/test_bad.py").kept_tmp
    assert f"    TMPDIR kept at: {kept}" in outcome.lines
    assert (Path(kept) / "trace").read_text() == "what happened"
    assert outcome.final("tests/test_good.py").kept_tmp == ""
    assert [str(path) for path in project.tmp.glob("pm-*/*")] == [kept]


def test_nothing_is_kept_when_nothing_fails(project: Project) -> None:
    project.write({"tests/test_good.py": script("open(os.environ['TMPDIR'] + '/x', 'w')")})
    assert project.run("--keep-tmp").code == 0


def test_stdin_is_empty_whatever_the_runner_is_fed(project: Project) -> None:
    project.write({"tests/test_a.py": script("print(repr(sys.stdin.read()), os.fstat(0).st_rdev)")})
    running = project.start(stdin=subprocess.PIPE)
    assert running.process.stdin is not None
    running.process.stdin.write(b"this is for somebody else\n")
    running.process.stdin.flush()
    outcome = running.end()
    null = Path("/dev/null").stat().st_rdev
    assert outcome.final("tests/test_a.py").output == f"'' {null}\n"


def test_a_file_sees_no_descriptor_of_the_runner(project: Project) -> None:
    project.write(
        {
            "tests/test_a.py": script(
                """
                import subprocess
                print(sorted(int(name) for name in os.listdir('/proc/self/fd'))[:-1], flush=True)
                subprocess.run(['ls', '/proc/self/fd'], check=True)
                """
            )
        }
    )
    # 3 is the listing of the directory itself; 198 is where the file's tests are reported.
    assert project.run().final("tests/test_a.py").output == "[0, 1, 2, 3]\n0\n1\n2\n3\n"


def test_what_is_in_the_way_of_the_runner_is_left_alone(project: Project) -> None:
    """A project whose modules and variables are called like ours or the standard library's."""
    names = ("worker", "dispatcher", "passmuster", "json", "select", "marshal_", "unittest_", "faulthandler")
    project.write({f"{name}.py": "raise SystemExit('imported by mistake')\n" for name in names})
    project.write({"tests/test_good.py": PASSING, "sitecustomize.py": "raise SystemExit('imported too')\n"})
    outcome = project.run(env={"PYTHONPATH": None})
    assert (outcome.code, outcome.stderr) == (0, "")


def test_a_read_only_project_is_run_all_the_same(project: Project) -> None:
    project.write({"tests/test_good.py": PASSING, ".passmuster": "a file where the directory should be"})
    outcome = project.run()
    assert outcome.statuses() == {"tests/test_good.py": "PASS"}
    assert outcome.code == 0
    assert outcome.stderr.startswith("[WARN] ")
    assert ".passmuster" in outcome.stderr


def test_nothing_is_written_into_the_project_without_history(project: Project) -> None:
    project.write({"tests/test_good.py": PASSING})
    before = sorted(project.root.rglob("*"))
    assert project.run("--no-history").code == 0
    assert sorted(project.root.rglob("*")) == before
