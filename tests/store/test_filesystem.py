"""Where a database may lie, as Linux tells what is mounted where."""

import pytest

from taskcore import BadFile, Engine
from taskcore.store import filesystem

MOUNTED = r"""
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
40 27 0:50 / /home rw,relatime shared:7 - nfs4 server:/home rw
41 40 0:51 / /home/me/local rw - xfs /dev/vdb rw
42 27 0:52 / /mnt/with\040space rw - fuse.sshfs me@there: rw
43 27 0:53 / /mnt/over rw - ext4 /dev/vdc rw
44 27 0:54 / /mnt/over rw - virtiofs share rw
45 27 0:55 / /stick rw - fuseblk /dev/sdb1 rw
""".strip()


@pytest.fixture(autouse=True)
def mounts(tmp_path, monkeypatch):
    (tmp_path / "mountinfo").write_text(MOUNTED)
    monkeypatch.setattr(filesystem, "MOUNTS", str(tmp_path / "mountinfo"))
    monkeypatch.setattr(filesystem, "_kinds", {})


@pytest.mark.parametrize("folder, kind", [
    ("/", "ext4"), ("/var/lib", "ext4"), ("/home", "nfs4"), ("/home/me", "nfs4"), ("/homework", "ext4"),
    ("/home/me/local", "xfs"), ("/home/me/local/deep", "xfs"), ("/mnt/with space/x", "fuse.sshfs"),
    ("/mnt/over", "virtiofs"), ("/stick", "fuseblk"),
])  # fmt: skip
def test_a_folder_is_on_the_file_system_that_is_mounted_nearest_above_it(folder, kind):
    assert filesystem.kind_of(folder) == kind


@pytest.mark.parametrize("path", ["/home/me/tasks.db", "/mnt/with space/tasks.db", "/mnt/over/tasks.db"])
def test_file_systems_of_other_machines_are_refused_with_the_way_out(path):
    assert "allow_network_filesystem=True" in filesystem.objection(path)


@pytest.mark.parametrize("path", ["/var/tasks.db", "/home/me/local/tasks.db", "/stick/tasks.db"])
def test_local_ones_are_not(path):
    assert filesystem.objection(path) is None


def test_where_nothing_is_told_nothing_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(filesystem, "MOUNTS", str(tmp_path / "not there"))
    assert filesystem.objection("/home/me/tasks.db") is None


def test_an_engine_is_not_opened_on_such_a_file_system_unless_it_is_asked_for(tmp_path, monkeypatch):
    mounts = f"41 40 0:51 / {tmp_path} rw - nfs4 server:/home rw\n"
    (tmp_path / "mountinfo").write_text(mounts)
    with pytest.raises(BadFile, match="a file system of kind nfs4"):
        Engine(tmp_path / "tasks.db", workers=0)
    assert not (tmp_path / "tasks.db").exists()
    Engine(tmp_path / "tasks.db", workers=0, allow_network_filesystem=True).close()
