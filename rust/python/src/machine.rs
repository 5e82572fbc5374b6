//! The machine's meters as the named tuples of `taskstats.machine`.

use precise_top_core::{Machine, Meters, Pressure, Stall};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// The meters with these names, or a ValueError that lists the names.
pub(crate) fn meters(names: &[String]) -> PyResult<Meters> {
    names.iter().try_fold(Meters::NONE, |all, name| {
        let known = Meters::NAMED.into_iter().find(|(known, _)| known == name);
        known.map(|(_, meter)| all | meter).ok_or_else(|| {
            let names = Meters::NAMED.map(|(name, _)| name).join(", ");
            PyValueError::new_err(format!("no meter {name:?}: choose from {names}"))
        })
    })
}

/// The machine as a `taskstats.machine.Machine`.
pub(crate) fn machine<'py>(py: Python<'py>, machine: &Machine) -> PyResult<Bound<'py, PyAny>> {
    let module = py.import("taskstats.machine")?;
    let make =
        |class: &str, arguments: Bound<'py, PyTuple>| module.getattr(class)?.call1(arguments);
    let stall = |stall: Stall| {
        let avg10_pct = f64::from(stall.avg10_centi) / 100.0;
        make("Stall", (avg10_pct, stall.total_us).into_pyobject(py)?)
    };
    let pressure = |pressure: Option<Pressure>| {
        let Some(Pressure { some, full }) = pressure else { return Ok(None) };
        let full = full.map(stall).transpose()?;
        make("Pressure", (stall(some)?, full).into_pyobject(py)?).map(Some)
    };
    let counts = |class: &str, name: &str, [a, b, c, d, e]: [u64; 5]| {
        make(class, (name, a, b, c, d, e).into_pyobject(py)?)
    };
    let disks = machine.disks.as_ref().map(|disks| {
        let disks = disks.iter().map(|disk| counts("Disk", &disk.name, disk.counts.as_array()));
        PyTuple::new(py, disks.collect::<PyResult<Vec<_>>>()?)
    });
    let networks = machine.networks.as_ref().map(|networks| {
        let networks = networks
            .iter()
            .map(|network| counts("Network", &network.name, network.counts.as_array()));
        PyTuple::new(py, networks.collect::<PyResult<Vec<_>>>()?)
    });
    let memory =
        machine.memory.map(|memory| make("MemoryDetails", PyTuple::new(py, memory.as_array())?));
    let cgroup =
        machine.cgroup.map(|cgroup| make("CgroupLimits", PyTuple::new(py, cgroup.as_array())?));
    let all = (
        pressure(machine.cpu_pressure)?,
        pressure(machine.io_pressure)?,
        pressure(machine.memory_pressure)?,
        memory.transpose()?,
        disks.transpose()?,
        networks.transpose()?,
        cgroup.transpose()?,
    );
    make("Machine", all.into_pyobject(py)?)
}
