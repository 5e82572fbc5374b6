//! The command lines and cgroups of the tasks on a screen, each read once.
//!
//! Design decisions
//!
//! * A command line is read when a task is first shown, and again after it has run: at once
//!   where its name or executable changed, else seconds later, as a program may execute itself
//!   or write over its arguments. That of a task that sleeps is never read again.
//! * A cgroup keeps its path, so that one task is asked for all of its cgroup.

use std::collections::HashMap;
use std::sync::Arc;

use precise_top_core::{Record, SharedBytes, Snapshot, TaskKey};

use super::process_names::{Image, NameSource};

/// How long a command line is valid although its task runs.
const VALID_NS: u64 = 10_000_000_000;
/// How long a task may take from its start to its last exec.
const SETTLED_NS: u64 = 2_000_000_000;
/// Command lines that are kept beyond those of the last screen.
const SPARE: usize = 1024;

/// The command lines and cgroups of the tasks on a screen.
pub struct CommandLines {
    source: NameSource,
    boot_id: Option<[u8; 16]>,
    known: HashMap<TaskKey, Known>,
    /// The paths of cgroups by their ids.
    cgroups: HashMap<u64, Arc<[u8]>>,
    /// CLOCK_BOOTTIME in ns at the snapshot on the screen.
    now_ns: u64,
}

struct Known {
    image: Image,
    text: Option<Arc<[u8]>>,
    /// The text with spaces between the arguments, once a filter has asked for it.
    words: Option<Arc<[u8]>>,
    read_ns: u64,
    shown_ns: u64,
    has_run: bool,
}

impl Known {
    fn words(&mut self) -> Option<Arc<[u8]>> {
        if self.words.is_none() {
            self.words = self.text.as_deref().map(words);
        }
        self.words.clone()
    }
}

/// Arguments, each ended by a NUL, with spaces in between.
fn words(arguments: &[u8]) -> Arc<[u8]> {
    let arguments = arguments.strip_suffix(b"\0").unwrap_or(arguments);
    arguments.iter().map(|&byte| if byte == 0 { b' ' } else { byte }).collect()
}

impl Default for CommandLines {
    fn default() -> CommandLines {
        CommandLines {
            source: NameSource::Unknown,
            boot_id: None,
            known: HashMap::new(),
            cgroups: HashMap::new(),
            now_ns: 0,
        }
    }
}

impl CommandLines {
    /// Goes to the snapshot that is shown next.
    pub fn begin(&mut self, snapshot: &Snapshot<SharedBytes>) {
        let header = snapshot.header();
        if self.boot_id != Some(header.boot_id)
            || self.source.is_recorded()
            || snapshot.names().is_some()
        {
            self.source = NameSource::of(snapshot);
            self.known.clear();
            self.cgroups.clear();
        }
        self.boot_id = Some(header.boot_id);
        let before_ns = std::mem::replace(&mut self.now_ns, header.begin.boottime_ns);
        if self.known.len() > SPARE {
            self.known.retain(|_, known| known.shown_ns >= before_ns);
        }
    }

    /// The path of the cgroup of a record; None where it is unknown.
    pub fn cgroup(&mut self, record: &Record<'_>) -> Option<Arc<[u8]>> {
        let id = record.cgroup_id().filter(|&id| id != 0)?;
        if let Some(path) = self.cgroups.get(&id) {
            return Some(Arc::clone(path));
        }
        let path: Arc<[u8]> = self.source.cgroup(record, id)?.into();
        if self.cgroups.len() >= SPARE {
            self.cgroups.clear();
        }
        self.cgroups.insert(id, Arc::clone(&path));
        Some(path)
    }

    /// The arguments of the process of a record with spaces in between, if they need not be read.
    pub(super) fn known_words(&mut self, record: &Record<'_>) -> Option<Option<Arc<[u8]>>> {
        if self.source.is_recorded() {
            return Some(self.words(record));
        }
        let known = self.known.get_mut(&TaskKey::of(record))?;
        known.shown_ns = self.now_ns;
        known.image.is_of(record).then(|| known.words())
    }

    /// The same, read where they are not known.
    pub(super) fn words(&mut self, record: &Record<'_>) -> Option<Arc<[u8]>> {
        let text = self.of(record, false);
        match self.known.get_mut(&TaskKey::of(record)) {
            Some(known) => known.words(),
            None => text.as_deref().map(words),
        }
    }

    /// The arguments of the process of a record, each ended by a NUL: empty for a kernel
    /// thread, None where they are unknown. `ran` is whether the task ran in the interval.
    pub fn of(&mut self, record: &Record<'_>, ran: bool) -> Option<Arc<[u8]>> {
        if self.source.is_recorded() {
            return self.source.cmdline(record).map(Arc::from);
        }
        let now_ns = self.now_ns;
        let key = TaskKey::of(record);
        if let Some(known) = self.known.get_mut(&key) {
            known.shown_ns = now_ns;
            known.has_run |= ran;
            let is_young = record.ac_start_ns().is_some_and(|start| now_ns < start + SETTLED_NS);
            let is_settled = !(ran && is_young) || known.read_ns == now_ns;
            let is_valid = !known.has_run || now_ns < known.read_ns + VALID_NS;
            if known.image.is_of(record) && is_settled && is_valid {
                return known.text.clone();
            }
        }
        let image = Image::of(record);
        let text = self.source.cmdline(record).map(Arc::from);
        // A task that has died can be asked no more.
        let before = self.known.remove(&key).filter(|known| known.image.is_of(record));
        let text = text.or_else(|| before.and_then(|known| known.text));
        let known = Known {
            image,
            text: text.clone(),
            words: None,
            read_ns: now_ns,
            shown_ns: now_ns,
            has_run: false,
        };
        self.known.insert(key, known);
        text
    }
}
