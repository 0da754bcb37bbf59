"""The words of the command line and of the files on disk."""

from __future__ import annotations

from enum import Enum

import pytest

from rvm_trt.errors import OptionError
from rvm_trt.options import Backend, Graph, Precision, Refiner, Variant, choice

WORDS: list[tuple[type[Enum], list[str]]] = [
    (Variant, ["mobilenetv3", "resnet50"]),
    (Refiner, ["deep_guided_filter", "fast_guided_filter"]),
    (Graph, ["core", "full"]),
    (Precision, ["fp32", "bf16", "fp16", "int8"]),
    (Backend, ["auto", "cpu", "tensorrt", "tensorrt-rtx"]),
]


@pytest.mark.parametrize(("kind", "words"), WORDS)
def test_each_word_names_one_choice(kind: type[Enum], words: list[str]) -> None:
    assert [member.value for member in kind] == words
    assert [choice(kind, word, subject="option") for word in words] == list(kind)


@pytest.mark.parametrize("kind", [kind for kind, _ in WORDS])
def test_a_member_stands_for_itself(kind: type[Enum]) -> None:
    assert all(choice(kind, member, subject="option") is member for member in kind)


@pytest.mark.parametrize("value", ["FP32", "float32", "", None, 32, ["fp32"]])
def test_any_other_value_is_refused_with_the_list_of_words(value: object) -> None:
    with pytest.raises(OptionError) as caught:
        choice(Precision, value, subject="precision")  # type: ignore[type-var]
    assert str(caught.value) == (
        f"precision: got {value!r}, expected one of 'fp32', 'bf16', 'fp16', 'int8'. Choose one of these for precision."
    )
    assert caught.value.__cause__ is None
