"""Verbs and flags of other tools, and their spelling here."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path

from resnets.errors import UserError, suggestion

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
    "A test split is made first: resnets data split DATA --test-fraction 0.15 --out split.csv; then "
    "resnets train DATA --split-file split.csv."
)

FOLDS = (
    "Folds are made first: resnets data split DATA --folds 5 --fold 1 --out split.csv; then "
    "resnets train DATA --split-file split.csv."
)

# Flags of other tools for what is a plain argument here.
WORDS = {
    "--data": "The data is the first argument: resnets train DATA.",
    "--data-dir": "The data is the first argument: resnets train DATA.",
    "--train-dir": "The data is the first argument: resnets train DATA.",
    **dict.fromkeys(("--test-fraction", "--test-split", "--test-size"), TEST_SPLIT),
    **dict.fromkeys(("--folds", "--fold", "--k-folds", "--kfold"), FOLDS),
    # Not an option of `predict` and `evaluate`; verbs that have it never look here.
    "--model": "The checkpoint or run directory is the first argument: resnets predict runs/NAME IMAGE….",
    "--source": "The images are plain arguments: resnets predict CHECKPOINT IMAGE….",
    "--input": "The images are plain arguments: resnets predict CHECKPOINT IMAGE….",
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


def canonical(words: Sequence[str], verbs: Collection[str]) -> list[str]:
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


def decimal_hint(received: str) -> str:
    """` Write 0.01.` for a number with a decimal comma, or an empty string."""
    match = re.search(r"(?<![\d,])(-?\d+),(\d+)$", received)
    return f" Write {match[1]}.{match[2]}, with a point." if match else ""


def blank_hint(words: Sequence[str]) -> str:
    """` A name with blanks is written in quotes: 'my images'.` where adjacent arguments are the name of one file, or ""."""
    for first in range(len(words)):
        for last in range(first + 2, len(words) + 1):
            name = " ".join(words[first:last])
            if os.path.exists(name):
                return f" A name with blanks is written in quotes: '{name}'."
    return ""


def flag_hint(received: str, known: Collection[str]) -> str:
    """` It is called '--batch' here.` for a flag of another tool, or an empty string."""
    if received in WORDS:
        return f" {WORDS[received]}"
    here = FLAGS.get(received, "")
    return f" It is called '{here}' here." if here.partition(" ")[0] in known else ""


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
        raise UserError(f"Unknown verb '{verb}'. It is called '{VERBS[verb]}' here: resnets {VERBS[verb]}.")
    if verb in TASKS:
        rest_verb = rest[0] if rest and rest[0] in verbs else "train"
        raise UserError(f"Unknown verb '{verb}'. The task is not written here: resnets {rest_verb} ….")
    raise UserError(f"Unknown verb '{verb}'.{suggestion(verb, verbs)} The verbs are {', '.join(verbs)}.")


def _check_assignments(verb: str, rest: Sequence[str]) -> None:
    """Refuse `epochs=3`, Ultralytics' way of writing; `--set optim.lr=0.2` and a file that is called so are fine."""
    before = verb
    for word in rest:
        match = ASSIGNMENT.fullmatch(word)
        if match and not before.startswith("-") and not Path(word).exists():
            key, value = match[1].replace("_", "-"), match[2]
            hint = WORDS.get(f"--{key}") or f"Write it as '{FLAGS.get(f'--{key}', f'--{key}')} {value}'."
            raise UserError(f"Values are not written as '{word}' here. {hint}")
        before = word
