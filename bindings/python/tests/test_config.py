"""Configurations."""

from __future__ import annotations

import gc
import pickle

import pytest

import oarlock


def test_what_is_generated_and_written_is_read_back(tmp_path):
    config = oarlock.Config.generate(3, tmp_path / "data", 7101)
    assert config.members == [1, 2, 3]
    assert config["member.2.address"] == "127.0.0.1:7102"
    config.write(tmp_path / "cluster.toml")
    assert oarlock.Config.load(tmp_path / "cluster.toml").dump() == config.dump()
    with pytest.raises(oarlock.Exists):
        config.write(tmp_path / "cluster.toml")


def test_keys_are_set_and_read_and_an_unknown_one_names_the_nearest():
    config = oarlock.Config()
    config["timing.heartbeat_interval"] = "50ms"
    config["cluster.insecure"] = True
    config["limits.sessions_max"] = 12
    assert (config["timing.heartbeat_interval"], config["cluster.insecure"], config["limits.sessions_max"]) == ("50ms", "true", "12")
    with pytest.raises(oarlock.ConfigError, match="heartbeat_interval"):
        config["timing.heartbeat_intervall"] = "50ms"
    with pytest.raises(oarlock.ConfigError, match="heartbeat_interval"):
        config["timing.heartbeat_intervall"]


def test_a_text_with_mistakes_names_them_all():
    with pytest.raises(oarlock.ConfigError) as caught:
        oarlock.Config.parse("[timing]\nelection_timeout_min = 'soon'\nheartbeat = '1s'\n", "here.toml")
    assert "here.toml" in str(caught.value) and "soon" in str(caught.value) and "heartbeat" in str(caught.value)


def test_keys_that_clash_are_found():
    config = oarlock.Config.generate(1, "data", 7101)
    config.validate()
    config["timing.heartbeat_interval"] = "10s"
    with pytest.raises(oarlock.ConfigError, match="heartbeat_interval"):
        config.validate()


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(oarlock.NotFound, match=r"none\.toml"):
        oarlock.Config.load(tmp_path / "none.toml")


def test_arguments_that_cannot_be():
    with pytest.raises(ValueError):
        oarlock.Config.generate(3, "data", 70000)
    with pytest.raises(ValueError):
        oarlock.Config.load("a\0b")


def test_a_closed_configuration_says_so_and_none_leaks():
    gc.collect()
    before = oarlock.debug_counts().configs
    with oarlock.Config() as config:
        assert oarlock.debug_counts().configs == before + 1
    with pytest.raises(oarlock.Closed):
        config.dump()
    config.close()
    for _ in range(100):
        oarlock.Config()
    assert oarlock.debug_counts().configs == before


def test_a_configuration_is_not_pickled():
    with pytest.raises(TypeError, match="dump"):
        pickle.dumps(oarlock.Config())


def test_stores_are_formatted_once(make_config):
    config = make_config(kind="pebble")
    with pytest.raises(oarlock.AlreadyFormatted):
        oarlock.format(config, 1)
    with pytest.raises(oarlock.Error, match="no member 9"):
        oarlock.format(config, 9)
