"""One suite for every environment: pytest tests/testinfra --env production. It only looks, and changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
from environment import Environment

ENVIRONMENT = pytest.StashKey[Environment]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--env", default="local", help="Environment to look at: a directory under inventories/")


def environment_of(config: pytest.Config) -> Environment:
    if ENVIRONMENT not in config.stash:
        config.stash[ENVIRONMENT] = Environment(config.getoption("--env"))
    return config.stash[ENVIRONMENT]


@pytest.fixture(scope="session")
def environment(pytestconfig: pytest.Config) -> Environment:
    return environment_of(pytestconfig)


@pytest.fixture
def host(environment: Environment, name: str) -> Any:
    return environment.connect(name)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `name` runs for every host, or for those of the groups that its mark `groups` names."""
    if "name" in metafunc.fixturenames:
        mark = metafunc.definition.get_closest_marker("groups")
        metafunc.parametrize("name", environment_of(metafunc.config).in_group(*(mark.args if mark else ("all",))))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "groups(name, ...): only hosts in one of these inventory groups")
