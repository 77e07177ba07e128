"""Check digits against published examples, and one digit off."""

from __future__ import annotations

import pytest

from prefdata.transforms.checksums import cn_id_valid, iban_valid, luhn_valid


@pytest.mark.parametrize("digits", ["4111111111111111", "378282246310005", "6011111111111117", "79927398713"])
def test_luhn_takes_valid_numbers_and_refuses_the_next_one(digits: str) -> None:
    assert luhn_valid(digits)
    assert not luhn_valid(str(int(digits) + 1))


@pytest.mark.parametrize("text", ["", "4111 1111", "４１１１", "41111x"])
def test_luhn_takes_plain_digits_only(text: str) -> None:
    assert luhn_valid(text) is False


@pytest.mark.parametrize(
    "iban", ["GB82WEST12345698765432", "DE89370400440532013000", "NO9386011117947", "MT84MALT011000012345MTLCAST001S"]
)
def test_iban_takes_the_registry_examples(iban: str) -> None:
    assert iban_valid(iban)
    assert iban_valid(iban.lower())
    assert not iban_valid(iban[:-1] + ("1" if iban[-1] != "1" else "2"))
    assert not iban_valid(iban + "0")


def test_iban_needs_a_known_country() -> None:
    assert not iban_valid("XX82WEST12345698765432")


@pytest.mark.parametrize("number", ["11010519491231002X", "440524188001010014", "11010519491231002x"])
def test_chinese_id_takes_the_examples_of_the_standard(number: str) -> None:
    assert cn_id_valid(number)


@pytest.mark.parametrize(
    "number",
    ["110105194912310021", "99010519491231002X", "11010519491331002X", "1101051949123100", "11010519490230002X"],
)
def test_chinese_id_checks_digit_region_date_and_length(number: str) -> None:
    assert not cn_id_valid(number)
