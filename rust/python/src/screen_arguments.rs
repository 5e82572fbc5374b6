//! Columns and settings of a screen, as Python passes them.

use std::sync::Arc;

use precise_top_core::{Condition, Filter};
use precise_top_screen::text::Side;
use precise_top_screen::{
    CellFormat, Meter, Tabs, TextColumn, TextTable, TreeOf, TreeSettings, ViewSettings,
};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::convert::{NamePart, filter, metric};
use crate::row_filter::PyRowFilter;
use crate::row_key::PyRowKey;
use crate::text::safe;

/// A column, as the attributes of a Python object.
#[derive(FromPyObject)]
pub(crate) struct ColumnAttributes {
    title: String,
    unit: String,
    heading: String,
    width: usize,
    right: bool,
    source: String,
    form: String,
    summed: bool,
    rank: u32,
    limits: Option<(f64, f64)>,
}

impl ColumnAttributes {
    fn column(self) -> PyResult<TextColumn> {
        let format = CellFormat::from_name(&self.form).ok_or_else(|| {
            let names = CellFormat::ALL.map(|(name, _)| name).join(", ");
            PyValueError::new_err(format!("no form {:?}: choose {names}", self.form))
        })?;
        let ColumnAttributes { title, unit, heading, width, summed, rank, limits, .. } = self;
        let heading = if heading.is_empty() { title.clone() } else { heading }.into();
        let side = if self.right { Side::Right } else { Side::Left };
        let metric = metric(&self.source)?;
        Ok(TextColumn { title, unit, heading, width, side, metric, format, summed, rank, limits })
    }
}

pub(crate) fn table(columns: Vec<ColumnAttributes>) -> PyResult<TextTable> {
    let columns = columns.into_iter().map(ColumnAttributes::column).collect::<PyResult<_>>()?;
    Ok(TextTable::new(columns))
}

/// What a screen shows, as keyword arguments.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct SettingsArguments {
    sort: String,
    #[pyo3(default = true)]
    descending: bool,
    #[pyo3(default)]
    text: Option<NamePart>,
    #[pyo3(default, item("where"))]
    condition: Option<PyRowFilter>,
    #[pyo3(default)]
    pids: Option<Py<PyAny>>,
    #[pyo3(default)]
    user_id: Option<u32>,
    #[pyo3(default)]
    user_name: String,
    #[pyo3(default)]
    no_kernel_threads: bool,
    #[pyo3(default)]
    no_dead: bool,
    #[pyo3(default)]
    limit: Option<usize>,
    #[pyo3(default)]
    top: usize,
    #[pyo3(default)]
    fold: String,
    #[pyo3(default)]
    tree: String,
    #[pyo3(default)]
    level: Option<usize>,
    #[pyo3(default)]
    toggled: Vec<PyRowKey>,
    #[pyo3(default)]
    selected: Option<usize>,
    #[pyo3(default)]
    selected_key: Option<PyRowKey>,
    #[pyo3(default)]
    follow: bool,
    #[pyo3(default)]
    tagged: Vec<PyRowKey>,
    #[pyo3(default)]
    scroll: usize,
    #[pyo3(default)]
    paused: bool,
    #[pyo3(default)]
    badge: String,
    #[pyo3(default)]
    ascii: bool,
    #[pyo3(default)]
    hidden: Vec<String>,
    #[pyo3(default)]
    disks: Vec<String>,
    #[pyo3(default)]
    networks: Vec<String>,
    #[pyo3(default)]
    tabs: Vec<String>,
    #[pyo3(default)]
    tab: Option<usize>,
    #[pyo3(default)]
    key_bar: Vec<(String, String)>,
    #[pyo3(default)]
    prompt: Option<SafeText>,
    #[pyo3(default)]
    notice: String,
}

/// The names of the keyword arguments.
const SETTINGS: [&str; 31] = [
    "sort",
    "descending",
    "text",
    "where",
    "pids",
    "user_id",
    "user_name",
    "no_kernel_threads",
    "no_dead",
    "limit",
    "top",
    "fold",
    "tree",
    "level",
    "toggled",
    "selected",
    "selected_key",
    "follow",
    "tagged",
    "scroll",
    "paused",
    "badge",
    "ascii",
    "hidden",
    "disks",
    "networks",
    "tabs",
    "tab",
    "key_bar",
    "prompt",
    "notice",
];

/// The settings of a tree of `name`; None for an empty one.
fn tree(
    name: &str,
    level: Option<usize>,
    toggled: Vec<PyRowKey>,
) -> PyResult<Option<TreeSettings>> {
    let of = match name {
        "" => return Ok(None),
        "task" => TreeOf::Tasks,
        "cgroup" => TreeOf::Cgroups,
        "dead" => TreeOf::Dead,
        _ => {
            let message = format!("no tree {name:?}: choose task, cgroup, dead");
            return Err(PyValueError::new_err(message));
        }
    };
    let toggled = toggled.into_iter().map(|key| key.0).collect();
    Ok(Some(TreeSettings { of, level, toggled }))
}

/// The meters of these names.
fn hidden(names: &[String]) -> PyResult<Vec<Meter>> {
    let meter = |name: &String| {
        Meter::from_name(name).ok_or_else(|| {
            let known = Meter::ALL.map(|(name, _)| name).join(", ");
            PyValueError::new_err(format!("no meter {name:?}: choose {known}"))
        })
    };
    names.iter().map(meter).collect()
}

/// Text that may hold lone surrogates, without them.
struct SafeText(String);

impl<'py> FromPyObject<'_, 'py> for SafeText {
    type Error = PyErr;

    fn extract(text: Borrowed<'_, 'py, PyAny>) -> PyResult<SafeText> {
        Ok(SafeText(safe(&text.cast::<PyString>()?.to_owned())?))
    }
}

/// The settings of a view, and the condition on its rows, from keyword arguments. TypeError for an unknown one, and where
/// `sort` is missing.
pub(crate) fn settings(
    arguments: Option<&Bound<'_, PyDict>>,
) -> PyResult<(ViewSettings, Option<Arc<Condition>>)> {
    let arguments =
        arguments.ok_or_else(|| PyTypeError::new_err("the keyword argument sort is missing"))?;
    for name in arguments.keys() {
        let name: String = name.extract()?;
        if !SETTINGS.contains(&&*name) {
            let known = SETTINGS.join(", ");
            return Err(PyTypeError::new_err(format!("no argument {name:?}: choose {known}")));
        }
    }
    if !arguments.contains("sort")? {
        return Err(PyTypeError::new_err("the keyword argument sort is missing"));
    }
    let given: SettingsArguments = arguments.extract()?;
    let pids = given.pids.as_ref().map(|pids| pids.bind(arguments.py()));
    let settings = ViewSettings {
        sort: metric(&given.sort)?,
        descending: given.descending,
        filter: Filter {
            user: given.user_id,
            no_kernel_threads: given.no_kernel_threads,
            no_dead: given.no_dead,
            ..filter(given.text, pids)?
        },
        user: given.user_name,
        limit: given.limit,
        top: given.top,
        tree: tree(&given.tree, given.level, given.toggled)?,
        group_by: given.fold,
        selected_key: given.selected_key.map(|key| key.0),
        selected: given.selected,
        follow: given.follow,
        tagged: given.tagged.into_iter().map(|key| key.0).collect(),
        scroll: given.scroll,
        paused: given.paused,
        badge: given.badge,
        ascii: given.ascii,
        replay: String::new(),
        age_s: None,
        exact_s: None,
        lacks: String::new(),
        hidden: hidden(&given.hidden)?,
        disks: given.disks,
        networks: given.networks,
        tabs: Tabs { names: given.tabs, shown: given.tab },
        key_bar: given.key_bar,
        prompt: given.prompt.map(|text| text.0),
        notice: given.notice,
    };
    Ok((settings, given.condition.and_then(|filter| filter.0)))
}
