"""What a user's mistake becomes: one sentence, and exit code 2."""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException, ValidationError

from mtl.rundir import RunFailed


def explain(error: Exception) -> str:
    """One sentence for a Hydra or OmegaConf error that a user's override caused."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options is not None:
        group, _, name = error.missing_cfg_file.rpartition("/")
        if group == "backbone" and (words := _torchvision_says(name)):
            return f"backbone={name}: {words}."
        options = sorted(option for option in error.options if not option.startswith("_"))
        return (
            f"{group}={name}: there is no such {group}; {_suggest(name, options)}expected one of {', '.join(options)}."
        )
    if isinstance(error, OverrideParseException):
        return f"'{error.override}' is no override: expected KEY=VALUE, quoted where the shell would change it."
    if ambiguous := re.match(r"Ambiguous value for argument '(.*)'", str(error)):
        return f"{ambiguous[1]} has several values: add -m to run each of them, or quote what is one value."
    cause = error.__cause__
    if isinstance(cause, ValidationError) and (given := re.match("Error merging override (.*)", str(error))):
        return f"{given[1]}: {first_line(cause)}."
    if isinstance(cause, (ConfigKeyError, ConfigAttributeError)) and cause.full_key:
        return _no_such_key(cause)
    return f"{first_line(error)}."


def _no_such_key(error: ConfigKeyError | ConfigAttributeError) -> str:
    parent, _, key = str(error.full_key).rpartition(".")
    root = error.parent_node._get_root() if error.parent_node is not None else None
    node = OmegaConf.select(root, parent) if isinstance(root, DictConfig) and parent else root
    options = _keys(node)
    if parent and not options:  # OmegaConf puts an empty node where it looks for a key in a value
        hint = f"{_suggest(key, _keys(root))}{parent} is a value"
    else:
        hint = f"{_suggest(key, options)}{parent or 'the config'} has {', '.join(options)}"
    if parent.startswith("weighting"):
        hint += "; beside several weightings write weighting.method.KEY=choice(VALUE), which is read for each of them"
    return f"{error.full_key}: there is no such key; {hint}."


def _keys(node: Any) -> list[str]:
    own = ("hydra", "_target_")
    return sorted(str(key) for key in node if key not in own) if isinstance(node, DictConfig) else []


def _torchvision_says(name: str) -> str | None:
    from mtl.backbones.torchvision import advice  # seconds, for torch: only once a name is known to be wrong

    return advice(name)


def _suggest(name: str, options: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, options, 1)
    return f"did you mean {close[0]}? " if close else ""


def first_line(error: BaseException) -> str:
    """What `error` says first, or what kind it is."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


@contextmanager
def sentences() -> Iterator[None]:
    """Inside, a user's mistake becomes one sentence and exit code 2, Ctrl-C exit code 130; other errors pass."""
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(_interrupted())
    except (HydraException, OmegaConfBaseException) as error:
        # Ctrl-C amid composing: what Hydra tidies up then fails, and hides it.
        hidden = any(isinstance(before, KeyboardInterrupt) for before in _contexts(error))
        sys.exit(_interrupted() if hidden else _say(explain(error)))
    except OSError as error:
        reason = error.strerror or error
        sys.exit(_say(f"{error.filename or 'a file'}: {reason}; check the path, its rights and the free space."))
    except RunFailed as error:
        sys.exit(_say(str(error), 1))
    except ValueError as error:
        if type(error) is not ValueError:  # a library's own kind (Unicode, JSON) is no sentence of ours
            raise
        sys.exit(_say(str(error)))


def _contexts(error: BaseException) -> Iterator[BaseException]:
    """What was being handled when `error` came up, and so on."""
    while error.__context__ is not None:
        error = error.__context__
        yield error


def _interrupted() -> int:
    if "MTL_POOL" not in os.environ:  # a job of a pool leaves it to its parent to say so
        _say("interrupted: the same command again goes on from here.")
    return 130


def _say(sentence: str, code: int = 2) -> int:
    print(sentence, file=sys.stderr)
    return code
