"""The command line: help, versions and errors."""

import subprocess
import sys
from functools import cache
from importlib.metadata import version

import pytest

from services.cli import COMMANDS, main

SERVICES = ("signaling", "media", "upstream", "metering", "rehearsal")


@cache
def hushgate(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "services.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 - our own


def exit_code(*arguments: str) -> object:
    """Run a command in this process, which is sooner: it has imported what all commands need."""
    try:
        return main(arguments)
    except SystemExit as exc:
        return exc.code


def test_the_version_is_told() -> None:
    assert hushgate("--version").stdout == f"hushgate {version('hushgate')}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_explains_and_starts_nothing(command: str) -> None:
    done = hushgate(command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: hushgate {command}")


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_argument_is_refused_and_starts_nothing(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(command, "--no-such-option") == 2
    told = capsys.readouterr()
    assert "--no-such-option" in told.err
    assert told.out == ""


def test_the_exit_code_is_that_of_the_process() -> None:
    assert hushgate("healthy", "--no-such-option").returncode == 2


@pytest.mark.parametrize("service", SERVICES)
def test_the_help_of_a_service_lists_its_settings(service: str) -> None:
    shown = hushgate(service, "--help").stdout
    assert f"  {service.upper()}_HTTP_PORT=0\n      0 binds a free port" in shown


@pytest.mark.parametrize("arguments", [["backup"], ["backup", "a", "b"], ["audit", "now"], ["frobnicate"]])
def test_a_wrong_subcommand_of_metering_starts_nothing(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("metering", *arguments) == 2
    assert capsys.readouterr().err.startswith("usage: hushgate metering")
