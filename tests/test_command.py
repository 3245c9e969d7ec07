"""How commands end, and files that appear complete or not at all."""

import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from diffharmon.command import exit_codes
from diffharmon.command.interrupts import Interrupted
from diffharmon.errors import ConfigError, ModelError
from diffharmon.files import copy_file, loading, write_text


@pytest.mark.parametrize(("error", "code"), [(ConfigError("bad"), 2), (OSError("disk"), 2), (KeyboardInterrupt(), 130)])
def test_an_error_of_the_users_is_one_line_and_an_exit_code(capsys, error, code):
    with pytest.raises(SystemExit) as stopped, exit_codes("stopped"):
        raise error
    assert stopped.value.code == code
    assert capsys.readouterr().err == ("interrupted; stopped\n" if code == 130 else f"error: {error}\n")


@pytest.mark.parametrize("error", [TypeError("odd\nlines"), StopIteration("odd lines"), ZeroDivisionError("odd lines")])
def test_a_defect_is_one_line_and_its_traceback_is_shown_on_demand(capsys, monkeypatch, error):
    with pytest.raises(SystemExit) as stopped, exit_codes():
        raise error
    assert stopped.value.code == 1
    hint = "(a defect of diffharmon; HYDRA_FULL_ERROR=1 shows where)"
    assert capsys.readouterr().err == f"error: unexpected {type(error).__name__}: odd lines {hint}\n"
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(type(error)), exit_codes():
        raise error


def test_a_signal_behind_an_error_is_what_counts(capsys):
    def interrupted():
        try:
            raise Interrupted(signal.SIGTERM)
        finally:
            raise AttributeError("put back too early")

    with pytest.raises(SystemExit) as stopped, exit_codes("goes on"):
        interrupted()
    assert stopped.value.code == 143
    assert capsys.readouterr().err == "stopped by SIGTERM; goes on\n"


def test_an_error_of_the_system_inside_a_librarys_own_is_the_systems(capsys):
    def configure():
        try:
            raise PermissionError(13, "Permission denied", "run.log")
        except OSError as error:
            raise ValueError("Unable to configure handler 'file'") from error

    with pytest.raises(SystemExit) as stopped, exit_codes():
        configure()
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "error: Permission denied: run.log\n"


def test_too_little_memory_is_no_defect(capsys):
    with pytest.raises(SystemExit) as stopped, exit_codes():
        raise MemoryError("cannot allocate 3 GiB")
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "error: cannot allocate 3 GiB\n"


def test_a_file_appears_complete_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "a.txt"
    write_text(path, "one")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "half \ud800")
    assert path.read_text() == "one"
    copy_file(path, tmp_path / "b.txt")
    assert (tmp_path / "b.txt").read_text() == "one"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: write_text(path, str(number) * 1000), range(8)))
    assert len(set(path.read_text())) == 1
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["a.txt"]


@pytest.mark.parametrize("error", [OSError("no such file\nhelp text"), ImportError("torchvision"), KeyError("unet")])
def test_a_model_that_cannot_be_loaded_is_one_message_with_advice(tmp_path, error):
    for given, kind in (("owner/model", "hub id"), (str(tmp_path), "local folder:")):
        with (
            pytest.raises(ModelError, match="cannot load the toy model") as raised,
            loading("toy model", given, "Try x."),
        ):
            raise error
        assert kind in str(raised.value)
        assert str(raised.value).endswith("\nTry x.")
        assert raised.value.__cause__ is error


def test_a_clear_error_passes_through():
    with pytest.raises(ModelError, match=r"^clear$"), loading("toy model", "x", "y"):
        raise ModelError("clear")
