//! The Python binding: converts arguments and results, without logic of its own.

mod acting;
mod arrow;
mod cgroup_use;
mod columns;
mod convert;
mod dump;
mod errors;
mod exits;
mod filling;
mod format;
mod frames;
mod history;
mod html;
mod interval;
mod kept;
mod known_names;
mod machine;
mod memory;
mod parse;
mod probe;
mod psutil;
mod read;
mod recorded;
mod recorder;
mod recording;
mod row_filter;
mod row_key;
mod rows;
mod scan;
mod screen;
mod screen_arguments;
mod signals;
mod snapshot;
mod source;
mod table;
mod task;
mod text;
mod tree;

use precise_top_core::Field;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

/// The value of `taskstats.FIELDS`.
fn field_table(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
    let rows = Field::ALL.iter().map(|field| {
        let info = field.info();
        let row = PyDict::new(py);
        row.set_item("name", info.name)?;
        row.set_item("kind", format!("{:?}", info.kind).to_lowercase())?;
        row.set_item("unit", info.unit.name())?;
        row.set_item("group", format!("{:?}", info.group).to_lowercase())?;
        row.set_item("extension", field.is_extension())?;
        row.set_item("doc", info.doc)?;
        Ok(row)
    });
    PyTuple::new(py, rows.collect::<PyResult<Vec<_>>>()?)
}

/// Return the letter of proc_pid_stat(5) for a value of `Task.state`, such as "R" or "S".
#[pyfunction]
fn state_letter(state: u32) -> char {
    precise_top_core::state::letter(state)
}

#[pymodule]
fn _core(py: Python<'_>, module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<snapshot::PySnapshot>()?;
    module.add_class::<task::PyTask>()?;
    module.add_class::<interval::PyInterval>()?;
    module.add_class::<interval::PyGroups>()?;
    module.add_class::<table::PyRow>()?;
    module.add_class::<table::PyTable>()?;
    module.add_class::<source::PySource>()?;
    module.add_class::<history::PyHistory>()?;
    module.add_class::<kept::PyKept>()?;
    module.add_class::<probe::PySourceReport>()?;
    module.add_class::<exits::PyExits>()?;
    module.add_class::<dump::PyDump>()?;
    module.add_class::<recorded::PyRecordedIntervals>()?;
    module.add_class::<recorder::PyRecorder>()?;
    module.add_class::<columns::PyColumns>()?;
    module.add_class::<scan::PyScanReader>()?;
    module.add_function(wrap_pyfunction!(scan::sum_tasks, module)?)?;
    module.add_function(wrap_pyfunction!(dump::open, module)?)?;
    module.add_function(wrap_pyfunction!(read::read_recordings, module)?)?;
    module.add_function(wrap_pyfunction!(columns::recorded_columns, module)?)?;
    module.add_function(wrap_pyfunction!(columns::column_types, module)?)?;
    module.add_function(wrap_pyfunction!(interval::columns_of_all, module)?)?;
    module.add_class::<tree::PyTree>()?;
    module.add_class::<screen::PyScreen>()?;
    module.add_class::<row_key::PyRowKey>()?;
    module.add_class::<row_filter::PyRowFilter>()?;
    module.add_class::<acting::PyTaskNow>()?;
    module.add_function(wrap_pyfunction!(acting::task_now, module)?)?;
    module.add_function(wrap_pyfunction!(acting::tgkill, module)?)?;
    module.add_function(wrap_pyfunction!(acting::ioprio, module)?)?;
    module.add_function(wrap_pyfunction!(acting::set_ioprio, module)?)?;
    module.add_class::<screen::PyLines>()?;
    module.add_class::<screen::PyCanvas>()?;
    module.add_class::<frames::PyFrames>()?;
    module.add_function(wrap_pyfunction!(text::safe, module)?)?;
    module.add_function(wrap_pyfunction!(text::width, module)?)?;
    module.add_function(wrap_pyfunction!(text::percent, module)?)?;
    module.add_function(wrap_pyfunction!(text::bytes_rate, module)?)?;
    module.add_function(wrap_pyfunction!(screen::missing_of, module)?)?;
    module.add_function(wrap_pyfunction!(parse::parse, module)?)?;
    module.add_function(wrap_pyfunction!(parse::parse_netlink, module)?)?;
    module.add_function(wrap_pyfunction!(interval::usage, module)?)?;
    module.add_function(wrap_pyfunction!(psutil::psutil_rows, module)?)?;
    module.add_function(wrap_pyfunction!(state_letter, module)?)?;
    module.add_function(wrap_pyfunction!(source::kept_snapshot, module)?)?;
    module.add_function(wrap_pyfunction!(source::task, module)?)?;
    module.add_function(wrap_pyfunction!(source::get, module)?)?;
    module.add_function(wrap_pyfunction!(source::get_tgid, module)?)?;
    module.add_function(wrap_pyfunction!(probe::sources, module)?)?;
    module.add_function(wrap_pyfunction!(probe::delayacct, module)?)?;
    module.add_function(wrap_pyfunction!(probe::drop_privileges, module)?)?;
    module.add_function(wrap_pyfunction!(probe::adopt_orphans, module)?)?;
    module.add_function(wrap_pyfunction!(probe::share_heap, module)?)?;
    module.add_function(wrap_pyfunction!(probe::cgroup_mount, module)?)?;
    module.add_function(wrap_pyfunction!(probe::cgroups_not_on_v2, module)?)?;
    module.add_function(wrap_pyfunction!(probe::cgroup_files, module)?)?;
    module.add_function(wrap_pyfunction!(cgroup_use::recorded_cgroup, module)?)?;
    module.add_function(wrap_pyfunction!(convert::user_name, module)?)?;
    module.add_function(wrap_pyfunction!(recorded::same_start, module)?)?;
    module.add("FIELDS", field_table(py)?)?;
    module.add("VERSION", env!("CARGO_PKG_VERSION"))
}
