"""Volumes as directories."""

from pathlib import Path
from typing import Any

import pytest

from handfast_lab.node.volumes import Context, NotReady, payload, set_up, write
from lab.node.stage import NODE

POD: dict[str, Any] = {
    "metadata": {"name": "p", "namespace": "ns", "uid": "u", "labels": {"b": "2", "a": 'say "1"'}},
    "spec": {},
}
HELD = {"keys": {"one": b"1", "two": b"2"}}
CONTEXT = Context(POD, NODE, ("192.0.2.1",), lambda _, name: HELD.get(name), "token {}".format)


def test_contents_change_all_at_once(tmp_path: Path) -> None:
    write(tmp_path, {"a": (b"1", 0o400), "deep/b": (b"2", 0o644)})
    first = (tmp_path / "..data").readlink()
    assert (tmp_path / "a").readlink() == Path("..data/a")
    assert (tmp_path / "deep").readlink() == Path("..data/deep")
    assert ((tmp_path / "deep/b").read_text(), (tmp_path / "a").stat().st_mode & 0o777) == ("2", 0o400)
    write(tmp_path, {"a": (b"3", 0o400), "c": (b"4", 0o644)})
    assert sorted(each.name for each in tmp_path.iterdir() if not each.name.startswith("..")) == ["a", "c"]
    assert not (tmp_path / first).exists()


def test_the_same_contents_change_nothing(tmp_path: Path) -> None:
    write(tmp_path, {"a": (b"1", 0o644)})
    before = (tmp_path / "..data").readlink()
    write(tmp_path, {"a": (b"1", 0o644)})
    assert (tmp_path / "..data").readlink() == before


def test_items_choose_keys_paths_and_modes() -> None:
    secret = {"secretName": "keys", "defaultMode": 0o440, "items": [{"key": "two", "path": "x/y", "mode": 0o400}]}
    assert payload({"name": "v", "secret": secret}, CONTEXT) == {"x/y": (b"2", 0o400)}
    assert payload({"name": "v", "secret": {"secretName": "keys", "defaultMode": 0o440}}, CONTEXT) == {
        "one": (b"1", 0o440),
        "two": (b"2", 0o440),
    }


def test_what_is_optional_may_be_missing() -> None:
    assert payload({"name": "v", "configMap": {"name": "none", "optional": True}}, CONTEXT) == {}
    with pytest.raises(NotReady, match="references non-existent secret key: three"):
        payload({"name": "v", "secret": {"secretName": "keys", "items": [{"key": "three", "path": "x"}]}}, CONTEXT)


def test_a_projected_volume_has_everything_in_one_place() -> None:
    sources: list[dict[str, Any]] = [
        {"serviceAccountToken": {"path": "token", "audience": "us"}},
        {"configMap": {"name": "keys", "items": [{"key": "one", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
    ]
    found = payload({"name": "v", "projected": {"sources": sources, "defaultMode": 0o600}}, CONTEXT)
    assert found == {
        "token": (b"token us", 0o600),
        "ca.crt": (b"1", 0o600),
        "labels": (b'a="say \\"1\\""\nb="2"', 0o600),
    }


def test_a_kind_of_volume_that_the_lab_lacks_is_named(tmp_path: Path) -> None:
    pod = {**POD, "spec": {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}}
    with pytest.raises(NotReady, match='volume "v" : the lab has no volumes of this kind: hostPath'):
        set_up(tmp_path, Context(pod, NODE, (), CONTEXT.data, CONTEXT.token))
