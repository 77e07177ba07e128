"""All methods of training are alike: one shape, one way to call them, and only what TRL promises to keep."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from typing import Any

import pytest

from prefdata import catalogue
from prefdata.errors import UnknownNameError
from trainers.method import Method
from trainers.settings import Settings

MORE = {"grpo": {"scorers"}, "rloo": {"scorers"}}
"""Arguments of a method's function that the others have no use for."""


def shape() -> dict[str, list[str]]:
    """Methods of the protocol and the names of their parameters."""
    return {
        name: list(inspect.signature(member).parameters)
        for name, member in vars(Method).items()
        if inspect.isfunction(member) and not name.startswith("_")
    }


def test_every_trainer_has_its_method() -> None:
    assert sorted(catalogue.METHODS) == sorted(catalogue.TRAINERS)
    with pytest.raises(UnknownNameError, match=r"unknown trainer 'dop'; did you mean 'dpo'\?"):
        catalogue.method("dop")


@pytest.mark.parametrize("name", sorted(catalogue.METHODS))
def test_a_method_is_of_the_one_shape(name: str) -> None:
    method = catalogue.method(name)
    assert method.name == name
    assert method.settings is catalogue.load("trainer", name)
    assert issubclass(method.settings, Settings)
    assert isinstance(method.version, int)
    assert isinstance(method.reserved, frozenset)
    assert method.task in ("CAUSAL_LM", "SEQ_CLS")
    assert {type(method.answers), type(method.reference)} == {bool}
    for member, parameters in shape().items():
        assert ["self", *inspect.signature(getattr(method, member)).parameters] == parameters, member


@pytest.mark.parametrize("name", sorted(catalogue.METHODS))
def test_a_method_is_called_as_all_others(name: str) -> None:
    module = importlib.import_module(f"trainers.{name}")
    ours = inspect.signature(getattr(module, f"train_{name}")).parameters
    theirs = inspect.signature(importlib.import_module("trainers.sft").train_sft).parameters
    assert [one for one in ours if one not in MORE.get(name, ())] == list(theirs)
    assert ours["output_dir"].default == f"model/{name}"
    assert [one.kind for key, one in ours.items() if key in theirs] == [one.kind for one in theirs.values()]


@pytest.mark.train
@pytest.mark.parametrize("name", sorted(catalogue.METHODS))
def test_a_method_takes_trls_stable_classes_and_reserves_names_that_they_have(name: str) -> None:
    pytest.importorskip("trl", reason="needs the extra `train`")
    from trainers.arguments import config_class

    method = catalogue.method(name)
    classes: list[Any] = [config_class(method.config), config_class(method.trainer)]
    assert all(one.__module__.startswith("trl.trainer.") for one in classes)
    alike = [config_class(catalogue.method(other).config) for other in catalogue.METHODS]
    known = {field.name for one in alike for field in dataclasses.fields(one)}
    assert sorted(method.reserved - known) == []
