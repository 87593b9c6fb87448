"""Completion, asked for as a shell asks: commands and configs without any heavy library, options from their parser."""

import os
import subprocess
import sys
from pathlib import Path
from shutil import which

import pytest

from pcfrl_lightning.cli.configs import shipped
from pcfrl_lightning.cli.main import COMMANDS

pytest.importorskip("argcomplete")
NAMES = [name for group in COMMANDS.values() for name in group]
BASH = """
eval "$({python} -m argcomplete.scripts.register_python_argcomplete pcfrl)"
pcfrl() {{ {python} -c "from pcfrl_lightning.cli.main import main; main()" "$@"; }}
COMP_LINE="$1" COMP_POINT=${{#1}} COMP_TYPE=9
read -ra COMP_WORDS <<< "$1"
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_python_argcomplete pcfrl
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def asked(tmp_path):
    """What a shell would show for a line that ends in <TAB>; argcomplete takes over file 9 of its process."""

    def ask(line):
        out = tmp_path / "completions"
        values = {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_IFS": "\v"}
        values |= {"_ARGCOMPLETE_STDOUT_FILENAME": str(out), "_ARGCOMPLETE_COMP_WORDBREAKS": ""}
        code = "import sys; from pcfrl_lightning.cli.main import main; sys.argv = ['pcfrl']; main()"
        subprocess.run([sys.executable, "-c", code], env=os.environ | values, check=True, capture_output=True)
        return [word.strip() for word in out.read_text().split("\v") if word.strip()]

    return ask


def test_commands(asked):
    assert sorted(asked("pcfrl ")) == sorted(NAMES)
    assert sorted(asked("pcfrl e")) == sorted(name for name in NAMES if name.startswith("e"))


def test_configs_of_the_package_and_on_the_disk(asked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").touch()
    Path("notes.txt").touch()
    assert set(asked("pcfrl fit --config ")) == {"mine.yaml", *(f"pcfrl:{name}" for name in shipped())}
    assert asked("pcfrl fit --config pcfrl:pretrain --config mi") == ["mine.yaml"]
    assert set(asked("pcfrl fit --config pcfrl:logger/")) == {
        f"pcfrl:logger/{n}" for n in ("csv", "tensorboard", "wandb")
    }


def test_options_of_a_command(asked):
    assert asked("pcfrl embed X.ckpt --image") == ["--image-size"]
    assert asked("pcfrl data check --no") == ["--no-decode"]


def test_the_light_parser_loads_no_heavy_library():
    commands = f"from pcfrl_lightning.cli import completion; completion.light_parser({dict.fromkeys(NAMES, '')})"
    heavy = {"torch", "lightning", "numpy"}
    code = f"import sys; {commands}; completion.configs('x'); assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(which("bash") is None, reason="there is no bash here")
def test_bash_shows_them():
    script = BASH.format(python=sys.executable)
    done = subprocess.run(["bash", "-c", script, "bash", "pcfrl val"], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["validate"]
