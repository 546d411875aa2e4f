"""The tables that were kept are still what the programs say."""

import json

import pytest

from tests.experiments import kept_tables


@pytest.mark.slow
def test_no_table_says_another_thing(tmp_path):
    made_with = json.loads((kept_tables.KEPT / "made_with.json").read_text())
    if made_with != kept_tables.made_with():
        pytest.skip("kept on another kind of processor, or by another version of jax")
    kept_tables.run(tmp_path)
    assert not kept_tables.differences(tmp_path)
