import subprocess
import sys
import types

import pytest
from click.testing import CliRunner

import lamina
from lamina import cli
from lamina.errors import InvalidArgumentError


@pytest.fixture
def run():
    def invoke(*arguments):
        return CliRunner().invoke(cli.main, list(arguments))

    return invoke


@pytest.fixture
def calls(monkeypatch):
    """What `lamina demo` asks of the demo, which does nothing here."""
    asked = []
    demo = types.ModuleType("lamina.demo")
    demo.run = lambda **options: asked.append(options)
    monkeypatch.setitem(sys.modules, "lamina.demo", demo)
    return asked


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["demo", "--help"], ["info", "--help"], []])
def test_help_and_version_answer_without_jax_numpy_or_rich(arguments):
    code = (
        "import sys\n"
        "from lamina.cli import main\n"
        "try:\n"
        f"    main({arguments!r}, prog_name='lamina')\n"
        "except SystemExit:\n"
        "    pass\n"
        "print(sorted({'jax', 'numpy', 'rich', 'optax', 'h5py'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_version_is_that_of_the_package(run):
    assert run("--version").output == f"lamina {lamina.__version__}\n"


def test_help_lists_every_command_with_what_it_does(run):
    text = run("--help").output
    for name, line in cli.COMMANDS.items():
        assert f"  {name}  " in text
        assert line[:30] in text
        command = cli.main.get_command(None, name)
        assert command.name == name
        assert run(name, "--help").exit_code == 0


def test_python_dash_m_is_the_same_command():
    command = [sys.executable, "-m", "lamina", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"lamina {lamina.__version__}\n"


def test_info_prints_a_plain_line_for_each_thing_where_nobody_looks(run, monkeypatch):
    from lamina import machine

    monkeypatch.setattr(machine, "matmul_rate", lambda: 123.4e9)
    result = run("info")
    assert result.exit_code == 0, result.output
    lines = dict(line.split(": ", 1) for line in result.output.splitlines())
    for name in ("lamina", "Python", "jax", "numpy", "optax", "h5py", "devices", "compilation cache"):
        assert lines[name]
    assert lines["lamina"] == lamina.__version__
    assert lines["Python"] == ".".join(map(str, sys.version_info[:3]))
    assert lines["float32 matrix product"] == "123 GFLOP/s"
    assert int(lines["cores for this process"]) >= 1


@pytest.mark.parametrize(
    ("setting", "expected"), [("0", "off (LAMINA_CACHE=0)"), ("folder", "folder/programs (0.0 MB")]
)
def test_info_says_where_the_cache_is_or_that_it_is_off(tmp_path, setting, expected):
    code = "from lamina import machine as m; m.matmul_rate = lambda: 1.0; print(dict(m.report())['compilation cache'])"
    environment = {"LAMINA_CACHE": setting, "HOME": str(tmp_path), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=tmp_path)
    assert done.stdout.startswith(expected)


def test_demo_has_the_defaults_of_the_readme(run, calls):
    assert run("demo").exit_code == 0
    (options,) = calls
    assert {name: str(value) for name, value in options.items()} == {
        "epochs": "20",
        "seed": "1",
        "out": "lamina-demo",
        "data": "sample",
    }


def test_demo_hands_its_options_on(run, calls, tmp_path):
    result = run("demo", "--epochs", "3", "--seed", "7", "--out", str(tmp_path / "new"), "--data", "full")
    assert result.exit_code == 0, result.output
    assert calls == [{"epochs": 3, "seed": 7, "out": tmp_path / "new", "data": "full"}]


@pytest.mark.parametrize("arguments", [["--epochs", "0"], ["--epochs", "x"], ["--seed", "-1"], ["--seed", str(2**32)]])
def test_a_wrong_option_is_refused_before_any_work(run, calls, arguments):
    result = run("demo", *arguments)
    assert result.exit_code == 2
    assert "Invalid value" in result.output
    assert not calls


def test_a_file_where_the_folder_should_be_is_refused(run, calls, tmp_path):
    (tmp_path / "file").write_text("")
    result = run("demo", "--out", str(tmp_path / "file"))
    assert result.exit_code == 2
    assert not calls


def test_what_the_library_refuses_ends_with_its_text_and_no_traceback(run, monkeypatch):
    demo = types.ModuleType("lamina.demo")

    def refuse(**_):
        raise InvalidArgumentError("there is no such file.\nTo fix it: name one.")

    demo.run = refuse
    monkeypatch.setitem(sys.modules, "lamina.demo", demo)
    result = run("demo")
    assert result.exit_code == 1
    assert result.output == "Error: there is no such file.\nTo fix it: name one.\n"


def test_a_bug_keeps_its_traceback(run, monkeypatch):
    demo = types.ModuleType("lamina.demo")
    demo.run = lambda **_: [][1]
    monkeypatch.setitem(sys.modules, "lamina.demo", demo)
    assert isinstance(run("demo").exception, IndexError)
