//! The values of `taskstats.compat.psutil`: processes as dictionaries with psutil's names.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::iter;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use precise_top_core::interval::Split;
use precise_top_core::{Record, SharedBytes, Snapshot, state};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyDict, PyList, PyString, PyTuple};

use crate::snapshot::{PySnapshot, PyTaskIterator};
use crate::task::PyTask;

/// Bytes of a command name that may be cut.
const LONGEST_COMM: usize = 15;
/// include/linux/sched.h
const PF_KTHREAD: u32 = 0x0020_0000;

/// An attribute of a process.
#[derive(Clone, Copy)]
enum Attribute {
    Pid,
    Ppid,
    Name,
    Status,
    CreateTime,
    Uids,
    Gids,
    Username,
    Nice,
    CpuNum,
    CpuTimes,
    MemoryInfo,
    NumThreads,
    NumCtxSwitches,
    IoCounters,
    Cmdline,
}

impl Attribute {
    fn from_name(name: &str) -> PyResult<Attribute> {
        Ok(match name {
            "pid" => Attribute::Pid,
            "ppid" => Attribute::Ppid,
            "name" => Attribute::Name,
            "status" => Attribute::Status,
            "create_time" => Attribute::CreateTime,
            "uids" => Attribute::Uids,
            "gids" => Attribute::Gids,
            "username" => Attribute::Username,
            "nice" => Attribute::Nice,
            "cpu_num" => Attribute::CpuNum,
            "cpu_times" => Attribute::CpuTimes,
            "memory_info" => Attribute::MemoryInfo,
            "num_threads" => Attribute::NumThreads,
            "num_ctx_switches" => Attribute::NumCtxSwitches,
            "io_counters" => Attribute::IoCounters,
            "cmdline" => Attribute::Cmdline,
            other => return Err(PyValueError::new_err(format!("no attribute {other:?}"))),
        })
    }

    /// The named tuple that holds the value.
    const fn class(self) -> Option<&'static str> {
        Some(match self {
            Attribute::Uids => "puids",
            Attribute::Gids => "pgids",
            Attribute::CpuTimes => "pcputimes",
            Attribute::MemoryInfo => "pmem",
            Attribute::NumCtxSwitches => "pctxsw",
            Attribute::IoCounters => "pio",
            _ => return None,
        })
    }
}

/// Numbers of a named tuple, at most.
const LONGEST: usize = 6;
/// Named tuples that a column keeps to share them.
const SHARED: usize = 256;

/// A requested attribute.
struct Column<'py> {
    key: Bound<'py, PyString>,
    attribute: Attribute,
    /// Its named tuple.
    class: Option<Bound<'py, PyAny>>,
    /// Named tuples by a hash of their numbers: many processes have the same ones.
    shared: RefCell<Vec<Option<Kept<'py>>>>,
}

/// Numbers, and the named tuple of them.
type Kept<'py> = ([u64; LONGEST], Bound<'py, PyAny>);

/// A value that was made; None where the record does not hold it.
type Made<'py> = PyResult<Option<Bound<'py, PyAny>>>;

/// Makes the values of records.
struct Maker<'py> {
    py: Python<'py>,
    snapshot: Arc<Snapshot<SharedBytes>>,
    columns: Vec<Column<'py>>,
    /// `tuple.__new__`: it makes a named tuple without a call of Python code.
    new: Bound<'py, PyAny>,
    /// A dictionary of the words for states, by letter.
    statuses: Bound<'py, PyAny>,
    users: Bound<'py, PyDict>,
    /// Every attribute as unknown. Its copies need not grow.
    template: Bound<'py, PyDict>,
}

impl<'py> Maker<'py> {
    fn row(&self, row: usize) -> PyResult<Bound<'py, PyDict>> {
        let values = self.template.copy()?;
        let Some(record) = self.snapshot.get(row) else { return Ok(values) };
        for column in &self.columns {
            if let Some(value) = self.value(column, row, &record)? {
                values.set_item(&column.key, value)?;
            }
        }
        Ok(values)
    }

    /// The value of an attribute; None where the record does not hold it.
    fn value(&self, column: &Column<'py>, row: usize, record: &Record<'_>) -> Made<'py> {
        let py = self.py;
        let number = |number: Option<u64>| -> Made<'py> {
            number.map(|number| Ok(number.into_pyobject(py)?.into_any())).transpose()
        };
        match column.attribute {
            Attribute::Pid => number(record.ac_pid().map(u64::from)),
            Attribute::Ppid => number(record.ac_ppid().map(u64::from)),
            Attribute::NumThreads => number(record.num_threads().map(u64::from)),
            Attribute::CpuNum => number(record.cpu().map(u64::from)),
            Attribute::Name => self.name(record),
            Attribute::Nice => {
                record.ac_nice().map(|nice| Ok(nice.into_pyobject(py)?.into_any())).transpose()
            }
            Attribute::Status => {
                let letter = record.state().map(state::letter);
                letter.map(|letter| self.statuses.get_item(letter)).transpose()
            }
            Attribute::Username => self.user(record),
            Attribute::CreateTime => {
                let time = PyTask::start_of(&self.snapshot, row);
                time.map(|time| Ok(time.into_pyobject(py)?.into_any())).transpose()
            }
            Attribute::Uids => self.ids(column, record.ac_uid()),
            Attribute::Gids => self.ids(column, record.ac_gid()),
            Attribute::CpuTimes => match cpu_times(record) {
                Some(times) => self.named(column, PyTuple::new(py, times)?),
                None => Ok(None),
            },
            Attribute::MemoryInfo => self.counts(column, memory(record)),
            Attribute::NumCtxSwitches => self.counts(column, switches(record)),
            Attribute::IoCounters => self.counts(column, io(record)),
            Attribute::Cmdline => self.cmdline(record),
        }
    }

    fn named(&self, column: &Column<'py>, values: Bound<'py, PyTuple>) -> Made<'py> {
        column.class.as_ref().map(|class| self.new.call1((class, values))).transpose()
    }

    /// Ids of which a record has the real one.
    fn ids(&self, column: &Column<'py>, id: Option<u32>) -> Made<'py> {
        let Some(id) = id else { return Ok(None) };
        let ids = (id, None::<u32>, None::<u32>);
        shared(column, [id.into()], || self.named(column, ids.into_pyobject(self.py)?))
    }

    fn counts<const N: usize>(&self, column: &Column<'py>, counts: Option<[u64; N]>) -> Made<'py> {
        let Some(counts) = counts else { return Ok(None) };
        shared(column, counts, || self.named(column, PyTuple::new(self.py, counts)?))
    }

    /// The command name; one that may be cut is completed from the program's path.
    fn name(&self, record: &Record<'_>) -> Made<'py> {
        let Some(name) = record.ac_comm() else { return Ok(None) };
        let is_kernel_thread = record.task_flags().is_some_and(|flags| flags & PF_KTHREAD != 0);
        let whole = (name.len() == LONGEST_COMM && !is_kernel_thread)
            .then(|| precise_top_sources::cmdline(record.ac_pid()?)?.into_iter().next())
            .flatten();
        let whole = whole.as_deref().and_then(|path| path.rsplit(|&byte| byte == b'/').next());
        let name = whole.filter(|whole| whole.starts_with(name)).unwrap_or(name);
        Ok(Some(match std::str::from_utf8(name) {
            Ok(name) => PyString::new(self.py, name).into_any(),
            Err(_) => OsStr::from_bytes(name).into_pyobject(self.py)?.into_any(),
        }))
    }

    fn cmdline(&self, record: &Record<'_>) -> Made<'py> {
        let words = record.ac_pid().and_then(precise_top_sources::cmdline);
        // A zombie has none any more.
        let is_zombie = record.state().map(state::letter) == Some('Z');
        let Some(words) = words.filter(|words| !(words.is_empty() && is_zombie)) else {
            return Ok(None);
        };
        let words = words.iter().map(|word| OsStr::from_bytes(word));
        PyList::new(self.py, words).map(|words| Some(words.into_any()))
    }

    fn user(&self, record: &Record<'_>) -> Made<'py> {
        let Some(uid) = record.ac_uid() else { return Ok(None) };
        if let Some(known) = self.users.get_item(uid)? {
            return Ok(Some(known));
        }
        let name = self.py.detach(|| precise_top_sources::user_name(uid));
        let name = name.unwrap_or_else(|| uid.to_string().into_bytes());
        let name = OsStr::from_bytes(&name).into_pyobject(self.py)?.into_any();
        self.users.set_item(uid, &name)?;
        Ok(Some(name))
    }
}

/// Own user and system time, those of children, and the wait for block I/O, in seconds.
fn cpu_times(record: &Record<'_>) -> Option<[f64; 5]> {
    let (user, system) = (record.ac_utime()?, record.ac_stime()?);
    let split = Split::of(record.cpu_ns()?, user, system, Split::default());
    let seconds = |us: Option<u64>| us.unwrap_or(0) as f64 / 1e6;
    Some([
        split.user_ns as f64 / 1e9,
        split.system_ns as f64 / 1e9,
        seconds(record.ac_cutime()),
        seconds(record.ac_cstime()),
        record.blkio_delay_total().unwrap_or(0) as f64 / 1e9,
    ])
}

fn memory(record: &Record<'_>) -> Option<[u64; 2]> {
    Some([record.rss_kb()? * 1024, record.vm_kb()? * 1024])
}

fn switches(record: &Record<'_>) -> Option<[u64; 2]> {
    Some([record.nvcsw()?, record.nivcsw()?])
}

fn io(record: &Record<'_>) -> Option<[u64; 6]> {
    Some([
        record.read_syscalls()?,
        record.write_syscalls()?,
        record.read_bytes()?,
        record.write_bytes()?,
        record.read_char()?,
        record.write_char()?,
    ])
}

/// The named tuple of some numbers: one that another process has, else what `make` returns.
fn shared<'py, const N: usize>(
    column: &Column<'py>,
    numbers: [u64; N],
    make: impl FnOnce() -> Made<'py>,
) -> Made<'py> {
    let mut key = [0; LONGEST];
    key[..N].copy_from_slice(&numbers);
    // A hash is enough here: what has the same one takes the other's place.
    let hash = key.iter().fold(0_u64, |hash, &number| {
        (hash.rotate_left(5) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    });
    let mut places = column.shared.borrow_mut();
    if places.is_empty() {
        places.resize(SHARED, None);
    }
    let place = &mut places[(hash >> 32) as usize % SHARED];
    if let Some((_, tuple)) = place.as_ref().filter(|(numbers, _)| *numbers == key) {
        return Ok(Some(tuple.clone()));
    }
    let made = make()?;
    *place = made.clone().map(|tuple| (key, tuple));
    Ok(made)
}

/// All tasks of a snapshot, or one task.
#[derive(FromPyObject)]
pub(crate) enum Tasks<'py> {
    All(PyRef<'py, PySnapshot>),
    One(PyRef<'py, PyTask>),
}

/// Return living tasks, by pid, and the attributes of each by psutil's names.
///
/// `types` is the module of the named tuples. `unknown` stands for what a record does not hold.
/// Raises ValueError for another attribute.
#[pyfunction]
pub(crate) fn psutil_rows<'py>(
    py: Python<'py>,
    tasks: Tasks<'py>,
    names: Vec<String>,
    types: &Bound<'py, PyAny>,
    unknown: Bound<'py, PyAny>,
) -> PyResult<(PyTaskIterator, Bound<'py, PyList>)> {
    let (snapshot, rows) = match &tasks {
        Tasks::All(snapshot) => {
            let snapshot = &snapshot.inner;
            let mut rows: Vec<usize> = (0..snapshot.living()).collect();
            rows.sort_by_cached_key(|&row| snapshot.get(row).and_then(|record| record.ac_pid()));
            (Arc::clone(snapshot), rows)
        }
        Tasks::One(task) => task.place(),
    };
    let column = |name: &String| {
        let attribute = Attribute::from_name(name)?;
        let class = attribute.class().map(|class| types.getattr(class)).transpose()?;
        let key = PyString::intern(py, name);
        Ok(Column { key, attribute, class, shared: RefCell::default() })
    };
    let columns = names.iter().map(column).collect::<PyResult<Vec<_>>>()?;
    let keys = columns.iter().map(|column| &column.key);
    let maker = Maker {
        py,
        snapshot: Arc::clone(&snapshot),
        new: py.get_type::<PyTuple>().getattr("__new__")?,
        statuses: types.getattr("STATUSES")?,
        users: PyDict::new(py),
        template: keys.zip(iter::repeat(&unknown)).into_py_dict(py)?,
        columns,
    };
    let found = PyList::empty(py);
    if !maker.columns.is_empty() {
        for &row in &rows {
            found.append(maker.row(row)?)?;
        }
    }
    Ok((PyTaskIterator::new(snapshot, rows), found))
}
