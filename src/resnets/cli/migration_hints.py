"""Hints for users of other tools: their verbs and flags, and the spelling here."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from resnets.errors import UserError
from resnets.message_format import suggestion

# flag elsewhere -> flag here. Sources: Ultralytics, timm, Keras, the example scripts of torchvision and transformers.
FLAGS = {
    "--arch": "--model",
    "--model-name-or-path": "--model",
    "--num-epochs": "--epochs",
    "--num-train-epochs": "--epochs",
    "--max-epochs": "--epochs",
    "--per-device-train-batch-size": "--batch",
    "--bs": "--batch",
    "--learning-rate": "--lr",
    "--lr0": "--lr",
    "--img-size": "--imgsz",
    "--input-size": "--imgsz",
    "--num-workers": "--workers",
    "-j": "--workers",
    "--gpu": "--device",
    "--gpus": "--device",
    "--cuda": "--device",
    "--pretrained": "--weights imagenet",
    "--checkpoint": "--weights",
    "--project": "--out",
    "--output": "--out",
    "--save-dir": "--out",
    "-o": "--out",
    "--experiment": "--name",
    "--resume-from-checkpoint": "--resume",
    "--early-stopping": "--patience",
    "--opt": "--set optim.name",
    "--optimizer": "--set optim.name",
    "--cfg": "--recipe",
    "--config": "--recipe",
    "--classes": "--num-classes",
    "--validation-split": "--val-fraction",
    "--val-split": "--val-fraction",
    "--amp": "--precision bf16",
    "--half": "--precision bf16",
    "--topk": "--top-k",
    "--tta": "--crops",
}

TEST_SPLIT = (
    "Make a test split first: resnets data split DATA --test-fraction 0.15 --out split.csv; then "
    "resnets train DATA --split-file split.csv."
)

FOLDS = (
    "Make the folds first: resnets data split DATA --folds 5 --fold 1 --out split.csv; then "
    "resnets train DATA --split-file split.csv."
)

_TRAINING_HINTS = {
    **dict.fromkeys(("--data", "--data-dir", "--train-dir"), "The data is the first argument: resnets {verb} DATA."),
    **dict.fromkeys(("--test-fraction", "--test-split", "--test-size"), TEST_SPLIT),
    **dict.fromkeys(("--folds", "--fold", "--k-folds", "--kfold"), FOLDS),
}
_IMAGES = "The images are plain arguments: resnets predict CHECKPOINT IMAGE…."
_EVALUATION_DATA = "The data is the last argument: resnets evaluate CHECKPOINT DATA."

# Flags of other tools for what is a plain argument of a verb here, or another command.
HINTS = {
    "train": _TRAINING_HINTS,
    "lr-find": _TRAINING_HINTS,
    "predict": {
        "--model": "The checkpoint or run directory is the first argument: resnets predict runs/NAME IMAGE….",
        **dict.fromkeys(("--source", "--input", "--data"), _IMAGES),
    },
    "evaluate": {
        "--model": "The checkpoint or run directory is the first argument: resnets evaluate runs/NAME DATA.",
        **dict.fromkeys(("--source", "--input", "--data", "--data-dir"), _EVALUATION_DATA),
    },
}

VERBS = {
    "val": "evaluate",
    "validate": "evaluate",
    "eval": "evaluate",
    "test": "evaluate",
    "fit": "train",
    "finetune": "train",
    "fine-tune": "train",
    "infer": "predict",
    "inference": "predict",
    "info": "summary",
    "ls": "models",
    "list": "models",
    "export": "weights convert",
    "convert": "weights convert",
    "verify": "weights verify",
    "inspect": "weights inspect",
    "split": "data split",
    "check": "data check",
    "zoo": "models",
    "find-lr": "lr-find",
}

TASKS = ("classify", "detect", "segment", "pose", "obb")  # Ultralytics writes the task before the verb
ASSIGNMENT = re.compile(r"([A-Za-z][A-Za-z0-9_]*)=(.*)", re.DOTALL)


def normalize_arguments(words: Sequence[str], verbs: Collection[str]) -> list[str]:
    """The arguments of a command as spelled here: `--val_fraction` is `--val-fraction`, `lr_find` is `lr-find`.

    Raises:
        UserError: the verb, or a `key=value` argument, belongs to another tool; the message has its spelling here.
    """
    if not words:
        return ["--help"]
    verb, *rest = (_dashed(word) for word in words)
    if not verb.startswith("-"):
        verb = verb.replace("_", "-")
        _check_verb(verb, rest, verbs)
        _check_assignments(verb, rest)
    return [verb, *(_weights_first(rest) if verb == "predict" else rest)]


def flag_hint(verb: str, received: str, known: Collection[str]) -> str:
    """` It is called '--batch' here.` for a flag of another tool, or an empty string; `known` are the flags of the verb."""
    if hint := _argument_hint(verb, received):
        return f" {hint}"
    here = FLAGS.get(received, "")
    return f" It is called '{here}' here." if here.partition(" ")[0] in known else ""


def _argument_hint(verb: str, flag: str) -> str:
    return HINTS.get(verb, {}).get(flag, "").format(verb=verb)


def _dashed(word: str) -> str:
    if not word.startswith("--"):
        return word
    flag, equals, value = word.partition("=")
    return flag.replace("_", "-") + equals + value


def _weights_first(words: list[str]) -> list[str]:
    """`--weights NAME IMAGE` as `NAME IMAGE`: the flag of `train` is accepted where the checkpoint is an argument."""
    for position, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if flag == "--weights" and (equals or position + 1 < len(words)):
            value, after = (value, position + 1) if equals else (words[position + 1], position + 2)
            return [value, *words[:position], *words[after:]]
        if word == "--":
            break
    return words


def _check_verb(verb: str, rest: Sequence[str], verbs: Collection[str]) -> None:
    if verb in verbs:
        return
    if verb in VERBS:
        raise UserError(f"Unknown command '{verb}'. It is called '{VERBS[verb]}' here: resnets {VERBS[verb]}.")
    if verb in TASKS:
        rest_verb = rest[0] if rest and rest[0] in verbs else "train"
        raise UserError(f"Unknown command '{verb}'. Leave the task out: resnets {rest_verb} ….")
    raise UserError(f"Unknown command '{verb}'.{suggestion(verb, verbs)} The commands are {', '.join(verbs)}.")


def _check_assignments(verb: str, rest: Sequence[str]) -> None:
    """Refuse `epochs=3`, the syntax of Ultralytics; `--set optim.lr=0.2` and a file of that name are fine."""
    before = verb
    for word in rest:
        match = ASSIGNMENT.fullmatch(word)
        if match and not before.startswith("-") and not Path(word).exists():
            key, value = match[1].replace("_", "-"), match[2]
            hint = _argument_hint(verb, f"--{key}") or f"Write it as '{FLAGS.get(f'--{key}', f'--{key}')} {value}'."
            raise UserError(f"'{word}' is not a valid argument. {hint}")
        before = word
