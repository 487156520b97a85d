"""What prune may remove, and above all what it may not."""

from typing import Any, ClassVar

import plugin_loading
import pytest
from ansible.module_utils.registry_retention import doomed
from ansible.module_utils.tagboat import prune

report = plugin_loading.load("roles/service/filter_plugins/prune.py")
WEB = "registry1:5000/web"


def digest(tag: str) -> str:
    return f"sha256:{tag.removeprefix('v'):0>64}"


def release(tag: str, result: str, image: str = "web") -> dict[str, Any]:
    return {
        "tag": tag,
        "result": result,
        "digest": digest(tag),
        "image": f"registry1:5000/{image}@{digest(tag)}",
    }


def image(tag: str, repository: str = WEB, **changes: Any) -> dict[str, Any]:
    return {
        "Id": f"id-{repository}-{tag}",
        "RepoTags": None,
        "RepoDigests": [f"{repository}@{digest(tag)}"],
        "Labels": {"org.opencontainers.image.version": tag},
        "Size": 1000,
        "SharedSize": 400,
        **changes,
    }


def container(name: str, tag: str, state: str = "exited", service: str | None = "web") -> dict[str, Any]:
    labels = {"tagboat.service": service, "tagboat.digest": digest(tag)} if service else {}
    return {"Names": [f"/{name}"], "State": state, "Labels": labels, "ImageID": f"id-{WEB}-{tag}"}


def kept_tags(releases: list[dict[str, Any]], keep: int) -> list[str]:
    return [one["tag"] for one in prune.kept(releases, keep)]


class TestReleasesThatStay:
    def test_the_newest_good_ones(self) -> None:
        results = {"v4": "live", "v3": "standby", "v2": "replaced", "v1": "replaced"}
        releases = [release(tag, result) for tag, result in results.items()]
        assert kept_tags(releases, 3) == ["v4", "v3", "v2"]

    def test_live_and_standby_whatever_their_age_and_whatever_is_asked(self) -> None:
        releases = [release("v9", "replaced"), release("v2", "live"), release("v1", "standby")]
        assert kept_tags(releases, 1) == ["v9", "v2", "v1"]

    def test_a_refused_one_goes_and_costs_nobody_a_place(self) -> None:
        releases = [release("v4", "live"), release("v3", "failed"), release("v2", "replaced")]
        assert kept_tags(releases, 2) == ["v4", "v2"]

    def test_one_rolled_back_stays_beside_the_good_ones_until_it_is_old(self) -> None:
        releases = [
            release("v5", "live"),
            release("v4", "rolled_back"),
            release("v3", "replaced"),
            release("v2", "rolled_back"),
            release("v1", "replaced"),
        ]
        assert kept_tags(releases, 2) == ["v5", "v4", "v3"]

    def test_a_tag_deployed_over_and_over_takes_one_place(self) -> None:
        releases = [release("v2", "live"), *[release("v2", "replaced")] * 2, release("v1", "replaced")]
        assert set(kept_tags(releases, 2)) == {"v2", "v1"}

    def test_an_old_tag_deployed_over_and_over_goes(self) -> None:
        releases = [
            release("v3", "live"),
            release("v2", "replaced"),
            release("v1", "replaced"),
            release("v2", "replaced"),
        ]
        assert kept_tags(releases, 1) == ["v3"]

    def test_all_of_a_service_that_the_catalogue_does_not_name(self) -> None:
        record = {"services": {"gone": {"releases": [release("v2", "live"), release("v1", "replaced")]}}}
        assert prune.kept_digests(record, {}) == {WEB: {digest("v2"): "v2", digest("v1"): "v1"}}

    def test_a_host_without_a_record_needs_nothing(self) -> None:
        assert prune.kept_digests({}, {"web": 5}) == {}


class TestImagesThatGo:
    def go(self, images: list[dict[str, Any]], used: tuple[str, ...] = (), keep: tuple[str, ...] = ()) -> list[str]:
        return list(prune.doomed_images(images, used, [WEB], [digest(tag) for tag in keep]))

    def test_those_that_no_release_needs_with_the_bytes_that_gives_back(self) -> None:
        images = [image("v1"), image("v2")]
        assert prune.doomed_images(images, [], [WEB], [digest("v2")]) == {f"{WEB}@{digest('v1')}": 600}

    def test_never_what_a_container_uses_even_a_stranger_s(self) -> None:
        assert self.go([image("v1")], used=(f"id-{WEB}-v1",)) == []

    @pytest.mark.parametrize(
        "repository", ["registry1:5000/webshop", "registry1:5000/other/web", "elsewhere:5000/web", "web"]
    )
    def test_never_another_repository(self, repository: str) -> None:
        assert self.go([image("v1", repository)]) == []

    def test_never_one_that_was_built_here_and_not_pushed_yet(self) -> None:
        assert self.go([image("v1", RepoDigests=None, RepoTags=[f"{WEB}:v1"])]) == []

    def test_one_that_was_pulled_by_tag_goes_by_tag(self) -> None:
        assert self.go([image("v1", RepoTags=[f"{WEB}:v1"])]) == [f"{WEB}:v1"]

    def test_a_stranger_s_name_of_the_same_image_stays(self) -> None:
        names: dict[str, Any] = {"RepoTags": ["mine:1"], "RepoDigests": [f"{WEB}@{digest('v1')}"]}
        assert self.go([image("v1", **names)]) == [f"{WEB}@{digest('v1')}"]

    def test_an_unknown_shared_size_is_not_subtracted(self) -> None:
        assert list(prune.doomed_images([image("v1", SharedSize=-1)], [], [WEB], []).values()) == [1000]


class TestContainersThatGo:
    def go(self, *containers: dict[str, Any]) -> list[str]:
        return prune.doomed_containers(containers, ["web"], [digest("v2")])

    def test_stopped_ones_of_releases_nobody_needs(self) -> None:
        assert self.go(container("web-a", "v1"), container("web-b", "v2")) == ["web-a"]

    @pytest.mark.parametrize("state", ["running", "paused", "restarting", "removing"])
    def test_never_one_that_is_not_stopped(self, state: str) -> None:
        assert self.go(container("web-a", "v1", state)) == []

    @pytest.mark.parametrize("service", ["worker", None])
    def test_never_another_s(self, service: str | None) -> None:
        assert self.go(container("web-a", "v1", service=service)) == []


class TestTagsThatGo:
    TAGS: ClassVar = {f"v{number}": digest(f"v{number}") for number in range(1, 13)}

    def test_all_but_the_highest(self) -> None:
        assert list(doomed(self.TAGS, 10, [])) == ["v2", "v1"]

    @pytest.mark.parametrize("needed", ["v1", digest("v1")])
    def test_never_what_is_needed_by_tag_or_digest(self, needed: str) -> None:
        assert list(doomed(self.TAGS, 10, [needed])) == ["v2"]

    def test_never_latest_nor_what_it_points_at(self) -> None:
        assert list(doomed({**self.TAGS, "latest": digest("v1"), "debug": digest("v3")}, 10, [])) == ["v2"]

    def test_never_a_digest_that_a_staying_tag_points_at(self) -> None:
        assert doomed({"v1": digest("v3"), "v2": digest("v2"), "v3": digest("v3")}, 1, []) == {"v2": digest("v2")}

    def test_never_the_highest_from_which_the_next_is_counted(self) -> None:
        assert list(doomed(self.TAGS, 0, [])) == [f"v{number}" for number in range(11, 0, -1)]


class TestWhatIsAsked:
    SERVICES: ClassVar = {
        "web": {"image": "web", "keep_releases": 5},
        "eval_worker": {"image": "web", "keep_releases": 7},
    }

    def test_the_service_that_keeps_most_of_a_shared_image_decides(self) -> None:
        assert report.keep_tags(self.SERVICES, ["base", "web"], 3) == {"base": 3, "web": 7}

    def test_a_person_may_ask_for_less(self) -> None:
        assert report.keep_tags(self.SERVICES, ["base"], 3, "1") == {"base": 1, "web": 1}
        assert report.keep_releases(self.SERVICES, "2") == {"web": 2, "eval_worker": 2}

    def test_what_environments_need_and_a_person_names_adds_up(self) -> None:
        told = report.told_needed("PLAY\n" + report.tell_needed({"web": [digest("v1")]}) + "\nok")
        assert report.needed_by_all([told, {"web": [digest("v2")]}], [f"web@{digest('v3')}", "base:v1"]) == {
            "web": [digest("v1"), digest("v2"), digest("v3")],
            "base": ["v1"],
        }


class TestWhatIsTold:
    HOSTVARS: ClassVar = {
        "localhost": {"service_unknown": ["web2"]},
        "web1": {"__service_pruned": {"kept": {WEB: {}}, "removed": ["web v1"], "freed_bytes": 2_500_000}},
        "web2": {"__service_pruned": {"unreachable": True}},
        "registry1": {},
    }

    def test_a_host_that_lost_something(self) -> None:
        told = report.prune_report(["web1", "web2"], self.HOSTVARS, ["registry1"], "", False)
        assert told == "web1: removed web v1; 2.5 MB freed"

    def test_a_host_that_did_not_answer_saves_the_registry(self) -> None:
        assert report.silent(["web1", "web2"], self.HOSTVARS) == ["web2"]
        assert report.prune_problems(["web1", "web2"], self.HOSTVARS, ["registry1"]) == [
            "web2: it cannot be reached by SSH",
            "registry: nothing was removed, for what web2 may need is not known",
        ]

    def test_a_build_under_way_is_not_disturbed(self) -> None:
        hostvars = {"build1": {"__image_building": {"stdout": "web.lock "}}}
        assert report.why_not_collect(["build1"], hostvars) == "web is being built"
        assert report.why_not_collect(["build1"], {"build1": {"__image_building": {"stdout": ""}}}) == ""
        assert report.why_not_collect(["build1"], {"build1": {}}) == "build server build1 does not answer"
