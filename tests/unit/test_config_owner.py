"""A sweep's name belongs to one config file."""

import pytest
import yaml

from mls.config.owner import check_owner, record_owner
from mls.config.parse import load_config
from mls.core.errors import UserError


@pytest.fixture
def owner(tmp_path):
    """The file of a sweep that was measured."""
    path = tmp_path / "first.yaml"
    write(path, results=str(tmp_path / "results"))
    record_owner(load_config(path), path)
    return path


def write(path, **more):
    path.write_text(yaml.safe_dump({"name": "x", "models": {"m": {}}} | more))


def check(path):
    check_owner(load_config(path), path)


def test_another_file_with_other_settings_is_refused(owner, tmp_path):
    rival = tmp_path / "second.yaml"
    write(rival, results=str(tmp_path / "results"), repeats=7)
    with pytest.raises(UserError, match=r"is also the name of the sweep of .*first\.yaml"):
        check(rival)


def test_the_same_file_may_change_and_be_renamed(owner, tmp_path):
    write(owner, results=str(tmp_path / "results"), repeats=7)
    check(owner)
    check(owner.rename(tmp_path / "renamed.yaml"))


@pytest.mark.parametrize("more", [{}, {"results": "elsewhere"}, {"name": "y"}])
def test_a_copy_another_name_or_another_place_is_fine(owner, tmp_path, more):
    other = tmp_path / "other.yaml"
    write(other, **({"results": str(tmp_path / "results")} | more))
    check(other)


def test_a_name_that_its_file_no_longer_has_is_free(owner, tmp_path):
    write(owner, name="new", results=str(tmp_path / "results"))
    other = tmp_path / "other.yaml"
    write(other, results=str(tmp_path / "results"), repeats=7)
    check(other)
