"""Counters of the CPU packages' energy, in a tree like the kernel's; the host's own where it has one."""

import pytest

from mls.host.usage.energy import POWERCAP, CpuEnergy


def domain(powercap, name, of, uj, most=1_000_000):
    """A counter as the kernel shows it."""
    folder = powercap / name
    folder.mkdir(parents=True)
    for file, value in (("name", of), ("energy_uj", uj), ("max_energy_range_uj", most)):
        (folder / file).write_text(f"{value}\n")
    return folder / "energy_uj"


def test_packages_are_added_and_their_parts_and_the_platform_are_not(tmp_path):
    first = domain(tmp_path, "intel-rapl:0", "package-0", 100_000)
    second = domain(tmp_path, "intel-rapl:1", "package-1", 500_000)
    parts = [
        domain(tmp_path, "intel-rapl:0:0", "core", 0),
        domain(tmp_path, "intel-rapl:0:1", "dram", 0),
        domain(tmp_path, "intel-rapl:2", "psys", 0),
        domain(tmp_path, "intel-rapl-mmio:0", "package-0", 0),
    ]
    energy = CpuEnergy(tmp_path)
    assert energy.joules() == 0
    first.write_text("350000\n")
    second.write_text("600000\n")
    for part in parts:
        part.write_text("900000\n")
    assert energy.joules() == pytest.approx(0.25 + 0.1)


def test_a_counter_that_begins_again_goes_on(tmp_path):
    counter = domain(tmp_path, "intel-rapl:0", "package-0", 900_000)
    energy = CpuEnergy(tmp_path)
    for now, total in ((950_000, 0.05), (50_000, 0.15), (20_000, 1.12)):
        counter.write_text(f"{now}\n")
        assert energy.joules() == pytest.approx(total)


def test_without_a_counter_the_energy_is_unknown(tmp_path):
    assert CpuEnergy(tmp_path / "absent").joules() is None
    domain(tmp_path, "intel-rapl:0", "psys", 0)
    assert CpuEnergy(tmp_path).joules() is None


def test_a_counter_that_may_not_be_read_makes_all_of_it_unknown(tmp_path):
    domain(tmp_path, "intel-rapl:0", "package-0", 0)
    hidden = domain(tmp_path, "intel-rapl:1", "package-1", 0)
    energy = CpuEnergy(tmp_path)
    assert energy.joules() == 0
    hidden.unlink()
    hidden.mkdir()  # root may read any file, but no folder
    assert energy.joules() is None
    assert CpuEnergy(tmp_path).joules() is None


def test_the_counters_of_this_host_grow_where_it_has_any():
    energy = CpuEnergy()
    before, after = energy.joules(), energy.joules()
    if before is None:
        assert after is None
        assert not POWERCAP.exists() or not readable()
    else:
        assert 0 <= before <= after


def readable():
    try:
        (POWERCAP / "intel-rapl:0" / "energy_uj").read_text()
    except OSError:
        return False
    return True
