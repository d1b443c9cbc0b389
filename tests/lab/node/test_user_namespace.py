"""What the lab of a user who is not root does: root of a user namespace, with subordinate users."""

import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parents[2]
INSIDE = f"read go; exec unshare --mount --net --pid --fork --kill-child --mount-proc {sys.executable} -m {{}}"


def test_containers_run_as_several_users(tmp_path: Path) -> None:
    command = ["unshare", "--user", "sh", "-c", "echo; " + INSIDE.format("lab.node.in_user_namespace")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"PYTHONPATH": str(TESTS), "PATH": "/usr/bin:/bin"}
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        for kind in ("uid_map", "gid_map"):
            Path(f"/proc/{process.pid}/{kind}").write_text("0 0 1\n1 100000 65535\n")
        written, _ = process.communicate(b"go\n", timeout=30)
    assert written == b"65532 init\n\n\n"
