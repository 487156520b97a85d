"""services.yml: what it may say, what it says when it does not, and how a mistake is told."""

from __future__ import annotations

from typing import Any

import plugin_loading
import pytest
from ansible.errors import AnsibleFilterError
from ansible.module_utils.tagboat import slot

services = plugin_loading.load("playbooks/plugins/filter/services.py")

WEB: dict[str, Any] = {"image": "web", "hosts": "web", "port": 8000, "public_port": 80}
WORKER: dict[str, Any] = {"image": "web", "hosts": "worker"}


def checked(raw: dict[Any, Any], groups: dict[str, Any] | None = None) -> dict[str, Any]:
    result: dict[str, Any] = services.checked_services(raw, groups)
    return result


def refusal(raw: Any, groups: dict[str, Any] | None = None) -> str:
    """What a person reads, without its first line."""
    with pytest.raises(AnsibleFilterError) as refused:
        services.checked_services(raw, groups)
    first, _, rest = str(refused.value).partition("\n")
    assert first == "services.yml is wrong, nothing was touched:"
    return rest


def test_defaults() -> None:
    assert checked({"web": WEB})["web"] == WEB | {
        "health": {"path": "/healthz", "ready_seconds": 3, "interval_seconds": 0.2, "deadline_seconds": 30},
        **{"env": {}, "secrets": [], "command": [], "migrate": []},
        **{"memory_mb": 256, "pids": 256, "read_only": True, "overlap": True},
        **{"reads": [], "groups": [], "balanced": True, "tls": False},
        **{"drain_seconds": 30, "stop_seconds": 10, "standby_seconds": 600, "keep_releases": 5, "rollout": {}},
    }


def test_a_worker_has_no_ports_at_all() -> None:
    worker = checked({"eval_worker": WORKER})["eval_worker"]
    assert "port" not in worker
    assert "public_port" not in worker
    assert "cpus" not in worker


def test_no_services_are_fine() -> None:
    assert checked({}) == {}
    assert services.checked_services(None) == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prot": 1}, "services.web: unknown key prot. Did you mean port? Known keys: balanced, command, cpus, "),
        ({"zzz": 1}, "services.web: unknown key zzz. Known keys: balanced, "),
        ({"health": {"pth": "/"}}, "services.web: unknown key health.pth. Did you mean path? Known keys: deadline_"),
        ({"image": "Web"}, "services.web.image: String should match"),
        ({"image": "r1:5000/web"}, "services.web.image: String should match"),
        ({"hosts": "web*"}, "services.web.hosts: String should match"),
        ({"port": 0}, "services.web.port: Input should be greater than or equal to 1"),
        ({"port": 65536}, "services.web.port: Input should be less than or equal to 65535"),
        ({"port": "http"}, "services.web.port: Input should be a valid integer"),
        ({"public_port": 12768}, "services.web.public_port: Input should be less than or equal to 12767"),
        ({"public_port": None}, "services.web: port and public_port go together"),
        ({"tls": True}, "services.web: tls is for http services with balanced: false"),
        ({"overlap": False}, "services.web: overlap: false is for workers"),
        ({"health": {"path": "healthz"}}, "services.web.health.path: String should match"),
        ({"health": {"path": "/a b"}}, "services.web.health.path: String should match"),
        ({"health": {"interval_seconds": 0}}, "services.web.health.interval_seconds: Input should be greater than 0"),
        ({"health": {"interval_seconds": 2}}, "services.web.health.interval_seconds: Input should be less than or"),
        (
            {"port": None, "public_port": None, "health": {"deadline_seconds": 3}},
            "services.web: health: ready_seconds must be less than deadline_seconds",
        ),
        ({"env": {"A": "two\nlines"}}, "services.web.env.A: String should match"),
        ({"env": {"A": 1}}, "services.web.env.A: text is meant; put it in quotes"),
        ({"env": {"a": "x"}}, "services.web.env.a.[key]: String should match"),
        ({"env": {"TAG": "x"}}, "services.web: env and secrets: TAG is set by Tagboat itself"),
        ({"secrets": ["TAG", "SLOT"]}, "services.web: env and secrets: SLOT, TAG is set by Tagboat itself"),
        ({"secrets": ["A"], "env": {"A": "x"}}, "services.web: A is in env and in secrets"),
        ({"command": ["echo hi"]}, "services.web.command.0: String should match"),
        ({"migrate": ["python", "-c", "print()"]}, "services.web.migrate.2: String should match"),
        ({"command": ["*"]}, "services.web.command.0: String should match"),
        ({"command": ["$HOME"]}, "services.web.command.0: String should match"),
        ({"command": ["it's"]}, "services.web.command.0: String should match"),
        ({"migrate": ["a\n"]}, "services.web.migrate.0: String should match"),
        ({"memory_mb": 8}, "services.web.memory_mb: Input should be greater than or equal to 16"),
        ({"cpus": 0}, "services.web.cpus: Input should be greater than 0"),
        ({"pids": 4}, "services.web.pids: Input should be greater than or equal to 8"),
        ({"drain_seconds": -1}, "services.web.drain_seconds: Input should be greater than or equal to 0"),
        ({"keep_releases": 1}, "services.web.keep_releases: Input should be greater than or equal to 2"),
    ],
)
def test_refused(changes: dict[str, Any], message: str) -> None:
    text = refusal({"web": WEB | changes})
    assert text.startswith(message)
    assert "\n" not in text


@pytest.mark.parametrize("name", ["Web", "1web", "web-app", "we b", "", "w" * 32, 7, "../web"])
def test_a_bad_name_is_refused(name: Any) -> None:
    assert refusal({name: WEB}).startswith(f"services.{name}: a service's name has small letters")


@pytest.mark.parametrize("name", ["user", "docker", "ssh"])
def test_a_name_that_would_replace_a_hosts_own_unit_is_refused(name: str) -> None:
    assert refusal({name: WEB}) == f"services.{name}: hosts have a unit of that name already, choose another"


@pytest.mark.parametrize("raw", [None, [], "web", 7])
def test_a_service_is_a_table(raw: Any) -> None:
    assert refusal({"web": raw}).startswith("services.web: Input should be a valid dictionary")


def test_everything_wrong_is_told_at_once() -> None:
    text = refusal({"web": {"image": "web"}, "api": WEB | {"prot": 1, "memory_mb": 1}})
    assert text.splitlines()[0] == "services.web.hosts: Field required"
    assert len(text.splitlines()) == 3


def test_an_unknown_group_is_refused_with_the_nearest() -> None:
    groups = {"web": ["web1"], "worker": ["worker1"]}
    message = "services.web.hosts: no group wbe in the inventory. Did you mean web?"
    assert refusal({"web": WEB | {"hosts": "wbe"}}, groups) == message
    assert checked({"web": WEB}, groups)


@pytest.mark.parametrize(
    ("port", "clash"),
    [(80, 80), (10080, 10080), (90, None), (10090, None)],
)
def test_ports_of_services_and_slots_do_not_meet_on_a_host(port: int, clash: int | None) -> None:
    raw = {"web": WEB, "api": WEB | {"public_port": port}}
    if clash:
        assert refusal(raw) == f"services.api.public_port: {clash} is taken by web on web"
    else:
        assert set(checked(raw)) == {"web", "api"}


def test_the_same_port_on_other_hosts_is_fine_where_the_balancer_does_not_listen_for_both() -> None:
    assert checked({"web": WEB, "api": WEB | {"hosts": "api", "balanced": False}})
    raw = {"web": WEB, "api": WEB | {"hosts": "api"}}
    assert refusal(raw) == "services.api.public_port: 80 is taken by web on balancer"


def test_where_there_is_no_balancer_nothing_listens_for_two() -> None:
    groups = {"web": ["web1"], "api": ["api1"]}
    assert checked({"web": WEB, "api": WEB | {"hosts": "api"}}, groups)


def test_a_host_in_two_groups_has_each_port_once() -> None:
    groups = {"web": ["web1"], "api": ["api1", "web1"], "balancer": ["lb1"]}
    raw = {"web": WEB, "api": WEB | {"hosts": "api", "balanced": False}}
    assert refusal(raw, groups) == "services.api.public_port: 80 is taken by web on web1"


def test_a_host_without_an_engine_runs_no_service() -> None:
    groups = {"web": ["web1", "web2"], "docker": ["web1"]}
    assert refusal({"web": WEB}, groups).startswith("services.web.hosts: web2 of group web cannot run containers")
    assert checked({"web": WEB}, {"web": ["web1"], "docker": ["web1", "build1"]})


def test_an_image_may_have_a_hyphen() -> None:
    assert checked({"web": WEB | {"image": "hello-api"}})


def test_the_modules_on_hosts_agree_about_slot_ports() -> None:
    assert tuple(slot.PORT_OFFSET.values()) == services.SLOT_PORTS


# What follows from the catalogue


CATALOGUE = checked({"web": WEB, "eval_worker": WORKER | {"secrets": ["KEY"]}})


def test_services_of_a_host() -> None:
    assert list(services.services_of(CATALOGUE, ["web", "docker"])) == ["web"]
    assert list(services.services_of(CATALOGUE, ["ops"])) == []


def test_http_services() -> None:
    assert list(services.http_services(CATALOGUE)) == ["web"]


def test_balanced_services() -> None:
    groups = {"web": ["web1", "web2"], "worker": ["worker1"]}
    (found,) = services.balanced_services(CATALOGUE, groups).values()
    assert (found["public_port"], found["hosts"]) == (80, ["web1", "web2"])


def test_firewall_lets_visitors_to_the_balancer_only() -> None:
    assert services.firewall_of_services(CATALOGUE, ["balancer"]) == [
        {"name": "web", "port": 80, "hosts": "web", "from": ["balancer"]},
        {"name": "web for all", "port": 80, "hosts": "balancer", "from": "any"},
    ]


def test_secrets_of_a_service() -> None:
    worker = CATALOGUE["eval_worker"]
    others = {"web": {"KEY": "of web"}}
    assert services.secrets_of(worker, {"eval": {"KEY": 7, "OTHER": "x"}} | others, "eval") == {"KEY": "7"}
    assert services.secrets_of(worker, {"eval": {"KEY": None}} | others, "eval") == {"KEY": ""}
    without: list[dict[str, Any]] = [{}, {"eval": None}, {"eval": {}}]
    for own in without:
        with pytest.raises(AnsibleFilterError, match=r"service_secrets.eval has no KEY in this environment. Next: add"):
            services.secrets_of(worker, own | others, "eval")
    with pytest.raises(AnsibleFilterError, match="KEY belongs under eval"):
        services.secrets_of(worker, {"KEY": "flat"}, "eval")
    with pytest.raises(AnsibleFilterError, match="the secret KEY has a line break") as refused:
        services.secrets_of(worker, {"eval": {"KEY": "hunter2\nmore"}}, "eval")
    assert "hunter2" not in str(refused.value)


def test_a_service_that_is_not_balanced_is_reached_by_few() -> None:
    inside = checked({"bot": WEB | {"balanced": False}})
    assert services.balanced_services(inside, {"web": ["web1"]}) == {}
    assert [rule["from"] for rule in services.firewall_of_services(inside, ["ops"])] == [["ops"]]


def test_how_a_rollout_goes_a_service_says_or_its_environment_or_nobody() -> None:
    service = checked({"web": WEB | {"rollout": {"watch_seconds": 5}}})["web"]
    settings = services.rollout_settings(service, {"watch_seconds": 60, "batches": [2, "50%"]})
    assert settings == services.ROLLOUT_DEFAULTS | {"watch_seconds": 5, "batches": [2, "50%"]}


@pytest.mark.parametrize(
    ("rollout", "said"),
    [
        ({"watch_secs": 5}, "unknown key rollout.watch_secs. Did you mean watch_seconds?"),
        ({"batches": []}, "services.web.rollout.batches"),
        ({"batches": ["0%"]}, "services.web.rollout.batches"),
        ({"watch_factor": 0.5}, "services.web.rollout.watch_factor"),
    ],
)
def test_a_bad_rollout_setting_is_refused(rollout: dict[str, Any], said: str) -> None:
    assert said in refusal({"web": WEB | {"rollout": rollout}})


def test_a_bad_rollout_setting_of_the_environment_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match=r"environment_rollout is wrong.*batch_sizes.*Known keys: batches"):
        services.rollout_settings({"rollout": {}}, {"batch_sizes": [1]})
