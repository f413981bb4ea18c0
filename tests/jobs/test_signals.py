"""Signals pass from a process to its descendants, whoever handles them there, and a warning requeues the job."""

import signal
import subprocess
import sys

import pytest

from gumbel.jobs import slurm

#: Replaces the handler of SIGTERM after pass_on, as Snakemake's scheduler does, and has a grandchild below a shell.
PARENT = """
import signal, subprocess, sys
from gumbel.jobs import signals
signals.pass_on()
received = []
for each in (signal.SIGTERM, signal.SIGUSR1):
    signal.signal(each, lambda number, frame: received.append(number))
child = subprocess.Popen(["bash", "-c", "trap '' TERM USR1; " + sys.argv[1] + " | cat"])
code = child.wait()
print(code, [signal.Signals(number).name for number in received], flush=True)
"""
#: Says that it is ready, and which signals came until one of each was there.
GRANDCHILD = """
import signal
came = []
for each in (signal.SIGTERM, signal.SIGUSR1):
    signal.signal(each, lambda number, frame: came.append(signal.Signals(number).name))
print("ready", flush=True)
while len(set(came)) < 2:
    signal.pause()
print(came, flush=True)
"""


def test_a_process_passes_warnings_on_to_its_descendants_once_and_goes_on_itself(tmp_path):
    (tmp_path / "grandchild.py").write_text(GRANDCHILD)
    command = [sys.executable, "-c", PARENT, f"{sys.executable} {tmp_path}/grandchild.py"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGUSR1)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    came, own = output.splitlines()
    assert sorted(eval(came)) == ["SIGTERM", "SIGUSR1"]
    assert own.startswith("0 ")
    assert sorted(eval(own[2:])) == ["SIGTERM", "SIGUSR1"]


@pytest.mark.parametrize(
    ("status", "words", "said"),
    [(0, "", "SLURM job 7 is requeued"), (1, "Invalid job id", "SLURM job 7 was not requeued: Invalid job id")],
)
def test_a_job_puts_itself_back_into_the_queue(tmp_path, monkeypatch, capsys, status, words, said):
    (tmp_path / "scontrol").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\necho {words} >&2\nexit {status}\n')
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    slurm.requeue()
    assert (tmp_path / "asked").read_text() == "requeue 7\n"
    assert said in capsys.readouterr().err


def test_outside_slurm_nothing_is_requeued(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    slurm.requeue()
    assert not capsys.readouterr().err
