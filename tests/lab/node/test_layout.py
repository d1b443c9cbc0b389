"""The plan of a container's files."""

from collections.abc import Iterable

import pytest

from handfast_lab.node.layout import FRESH, Entry, Mount, Step, plan, resolve


class SmallTree:
    """Directories end with a slash, links have an arrow; a mode may follow."""

    def __init__(self, *lines: str) -> None:
        self._entries = dict([("/", Entry("dir")), *map(self._entry, lines)])

    @staticmethod
    def _entry(line: str) -> tuple[str, Entry]:
        path, _, rest = line.partition(" ")
        if rest.startswith("-> "):
            return path, Entry("link", target=rest[3:])
        mode = int(rest, 8) if rest else 0o755
        return (path[:-1], Entry("dir", mode)) if path.endswith("/") else (path, Entry("file", mode))

    def entry(self, path: str) -> Entry | None:
        return self._entries.get(path)

    def names(self, path: str) -> Iterable[str]:
        within = path.rstrip("/") + "/"
        return [
            each.removeprefix(within)
            for each in self._entries
            if each.startswith(within) and each != "/" and "/" not in each.removeprefix(within)
        ]


TREE = SmallTree(
    "/usr/",
    "/usr/lib/",
    "/usr/share/",
    "/bin -> usr/bin",
    "/var/",
    "/var/run -> /run",
    "/var/lib/",
    "/etc/",
    "/etc/hosts",
    "/root/ 700",
    "/root/.python/",
    "/root/private",
    "/tmp/ 1777",
    "/sys/",
)


def steps(*mounts: Mount, reach: Iterable[str] = ()) -> list[Step]:
    found, _ = plan(TREE, mounts, reach)
    return found[: -len(FRESH)]


def test_without_mounts_the_machines_directories_are_bound_whole() -> None:
    assert steps() == [
        ("link", "/bin", "usr/bin"),
        *(("bind", path, path) for path in ("/etc", "/root", "/sys", "/usr", "/var")),
    ]


def test_a_directory_is_opened_only_when_something_new_stands_in_it() -> None:
    assert ("bind", "/etc", "/etc") in steps(Mount("hosts", "/etc/hosts"))
    opened = steps(Mount("data", "/usr/data"))
    assert ("dir", "/usr", 0o755) in opened
    assert ("bind", "/usr/lib", "/usr/lib") in opened


def test_a_mount_goes_where_the_machines_links_lead() -> None:
    _, mounts = plan(TREE, [Mount("cache", "/var/run/handfast/cache")], ())
    assert [each.target for each in mounts] == ["/run/handfast/cache"]
    assert ("bind", "/var", "/var") in steps(Mount("cache", "/var/run/handfast/cache"))


def test_a_home_that_others_may_not_enter_has_one_way_through_it() -> None:
    opened = [each for each in steps(reach=["/root/.python"]) if each[1].startswith("/root")]
    assert opened == [("dir", "/root", 0o755), ("bind", "/root/.python", "/root/.python")]


def test_a_place_below_tmp_is_put_back_there() -> None:
    _, mounts = plan(TREE, [], ["/tmp/checkout"])
    assert mounts == [Mount("/tmp/checkout", "/tmp/checkout", read_only=True)]


def test_outer_mounts_come_first_and_cover_what_is_in_them() -> None:
    inner, outer = Mount("b", "/data/inner/one"), Mount("a", "/data")
    found, mounts = plan(TREE, [inner, outer], ())
    assert mounts == [outer, inner]
    assert not any(each[1].startswith("/data/") for each in found)


def test_links_that_lead_in_a_circle_are_refused() -> None:
    with pytest.raises(OSError, match="too many symbolic links"):
        resolve(SmallTree("/a -> /b", "/b -> a"), "/a/x")
