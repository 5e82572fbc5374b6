//! Names that a screen shows: of users, from Python, command lines and cgroups.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use precise_top_core::Record;
use precise_top_screen::{Names, text};
use precise_top_sources::CommandLines;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::text::safe;

/// The names of users that Python knows.
#[derive(Default)]
pub(crate) struct Users {
    names: HashMap<u32, String>,
    /// Users without a name that the last screen showed: there may be one by now.
    unnamed: BTreeSet<u32>,
}

impl Users {
    /// Asks Python for the names of these users.
    fn ask(
        &mut self,
        py: Python<'_>,
        user: &Py<PyAny>,
        uids: impl IntoIterator<Item = u32>,
    ) -> PyResult<()> {
        for uid in uids {
            let name: Option<Bound<'_, PyString>> = user.bind(py).call1((uid,))?.extract()?;
            if let Some(name) = name {
                self.names.insert(uid, safe(&name)?);
            } else {
                self.unnamed.insert(uid);
            }
        }
        Ok(())
    }
}

/// The names that Python and /proc know, for one drawing.
struct KnownNames<'a> {
    users: &'a Users,
    /// Users that are shown without a name, and those that Python has not been asked for.
    unnamed: RefCell<BTreeSet<u32>>,
    unknown: RefCell<BTreeSet<u32>>,
    commands: RefCell<&'a mut CommandLines>,
}

impl Names for KnownNames<'_> {
    fn user(&self, uid: u32, text: &mut String) {
        if let Some(name) = self.users.names.get(&uid) {
            text.push_str(name);
        } else if self.users.unnamed.contains(&uid) {
            self.unnamed.borrow_mut().insert(uid);
            text::push_integer(text, uid.into());
        } else {
            self.unknown.borrow_mut().insert(uid);
        }
    }

    fn arguments(&self, record: &Record<'_>, ran: bool) -> Option<Arc<[u8]>> {
        self.commands.borrow_mut().of(record, ran)
    }

    fn cgroup(&self, record: &Record<'_>) -> Option<Arc<[u8]>> {
        self.commands.borrow_mut().cgroup(record)
    }
}

/// The result of `make` with the names of users, or their numbers where Python does not know
/// the name yet. It is repeated after unknown names were requested from Python: an exception
/// cannot pass through the drawing code.
pub(crate) fn with_names<T>(
    py: Python<'_>,
    users: &mut Users,
    commands: &mut CommandLines,
    user: &Py<PyAny>,
    make: impl Fn(&dyn Names) -> T,
) -> PyResult<T> {
    let unnamed = std::mem::take(&mut users.unnamed);
    users.ask(py, user, unnamed)?;
    loop {
        let names = KnownNames {
            users,
            unnamed: RefCell::default(),
            unknown: RefCell::default(),
            commands: RefCell::new(&mut *commands),
        };
        let made = make(&names);
        let (unnamed, unknown) = (names.unnamed.into_inner(), names.unknown.into_inner());
        if unknown.is_empty() {
            users.unnamed = unnamed;
            return Ok(made);
        }
        users.ask(py, user, unknown)?;
    }
}
