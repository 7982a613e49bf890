import subprocess
import sys
from typing import get_args

import pytest

from ren_core.commands import parsers as model_parsers
from ren_core.encoders.catalog import NAMES
from ren_core.engine.choice import EngineName
from ren_core.training import config
from ren_core.training.recipes import RECIPES
from vq2d.commands import main, options
from vq2d.ego4d.annotations import FILE_NAMES
from vq2d.job.oracle import ORACLES
from vq2d.localize.presets import PRESETS
from vq2d.memory.exports import EXPORTS
from vq2d.video.readers import ReaderName

HEAVY = ("torch", "cv2", "av", "scipy", "pandas", "sklearn", "matplotlib")
HELP = """
import resource, sys
from vq2d.commands.main import COMMANDS, main
for name in COMMANDS:
    try:
        main([name, "--help"])
    except SystemExit as end:
        assert end.code == 0, name
loaded = [name for name in {heavy} if name in sys.modules]
print(loaded, resource.getrusage(resource.RUSAGE_SELF).ru_utime, file=sys.stderr)
"""


def test_help_of_all_commands_imports_nothing_heavy_and_is_quick():
    done = subprocess.run(
        [sys.executable, "-c", HELP.format(heavy=HEAVY)], capture_output=True, text=True, check=True
    )
    loaded, seconds = done.stderr.strip().rsplit(" ", 1)
    assert loaded == "[]"
    assert float(seconds) < 2  # of the processor, for all of them together, under load
    assert done.stdout.count("usage: vq2d ") == len(main.COMMANDS)


@pytest.mark.parametrize(
    ("repeated", "source"),
    [
        (options.PRESETS, sorted(PRESETS)),
        (options.ENGINES, get_args(EngineName)),
        (options.READERS, get_args(ReaderName)),
        (options.SPLITS, FILE_NAMES),
        (options.ORACLES, ORACLES),
        (options.EXPORTS, sorted(EXPORTS)),
        (model_parsers.ENCODERS, NAMES),
        (model_parsers.RECIPES, sorted(RECIPES)),
        (model_parsers.PRECISIONS, config.PRECISIONS),
        (model_parsers.STARTS, config.STARTS),
        (model_parsers.QUERIES, config.QUERIES),
        (model_parsers.SCOPES, config.SCOPES),
    ],
)
def test_the_names_that_command_lines_repeat_are_those_of_the_code(repeated, source):
    assert tuple(repeated) == tuple(source)


@pytest.mark.parametrize("words", [[], ["forget"], ["run", "--no-such-option"]])
def test_a_wrong_command_line_is_refused(words, capsys):
    with pytest.raises(SystemExit) as end:
        main.main(words)
    assert end.value.code == 2
    assert "usage: vq2d" in capsys.readouterr().err


def test_a_command_is_called_and_its_exit_code_returned(capsys):
    assert main.main(["memory", "list", "--memory", "/nowhere"]) == 1
    assert "there is no memory in /nowhere" in capsys.readouterr().err


def test_every_command_has_a_module_that_can_be_called():
    for command in main.COMMANDS.values():
        assert callable(__import__(command.module, fromlist=["main"]).main)


def test_completion_knows_the_commands_and_their_options(capsys):
    assert main.main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    assert all(name in script for name in main.COMMANDS)
    assert "--forget-after" in script
    checked = subprocess.run(["bash", "-n"], input=script, text=True, check=False)
    assert checked.returncode == 0


def test_python_m_is_the_same_command():
    done = subprocess.run([sys.executable, "-m", "vq2d", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "usage: vq2d" in done.stdout
    assert "remember" in done.stdout
