//! The names that a recording gets with each snapshot: those that are new since the last.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hasher};
use std::mem;

use precise_top_core::names::{NamesAt, RecordedName, StringKey, UNKNOWN};
use precise_top_core::{Flags, Record, SharedBytes, Snapshot};

use super::process_names::{Image, LONGEST_CMDLINE, NameSource};
use crate::privilege::ReadingOthers;

/// The end of a command line that is cut.
const CUT_MARK: &str = "…";

/// The names that are in the file already.
pub(super) struct NameStrings {
    cmdlines: bool,
    /// The processes of the last snapshot, with the arguments that are in the file.
    processes: HashMap<StringKey, Arguments>,
    /// Hashes of the names of users and cgroups.
    named: HashMap<StringKey, u64>,
    /// Users whose names are not in the file. Their last task may die before the answer comes.
    unnamed: BTreeSet<u32>,
    /// The source of the last snapshot's names.
    source: NameSource,
    /// The boot that the last snapshot is of.
    boot_id: Option<[u8; 16]>,
}

/// The arguments that are in the file: the program they are of, and their hash.
#[derive(Clone)]
struct Arguments {
    image: Image,
    hash: Option<u64>,
    /// The CPU time of the record when they were read: who did not run cannot have written
    /// over them.
    cpu_ns: Option<u64>,
}

fn hash(text: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(text);
    hasher.finish()
}

/// Cuts a long command line, at a whole character where it is UTF-8, and marks it.
fn cut(mut text: Vec<u8>) -> Vec<u8> {
    if text.len() <= LONGEST_CMDLINE {
        return text;
    }
    text.truncate(LONGEST_CMDLINE - CUT_MARK.len() - 1);
    if let Err(error) = std::str::from_utf8(&text)
        && error.error_len().is_none()
    {
        text.truncate(error.valid_up_to());
    }
    text.extend_from_slice(CUT_MARK.as_bytes());
    text.push(0);
    text
}

/// The snapshot with the names of users and cgroups that it has, and with `cmdlines` of command
/// lines: as recorded, or this machine's where it is of its present boot.
pub fn with_names(snapshot: &Snapshot<SharedBytes>, cmdlines: bool) -> Snapshot<SharedBytes> {
    if snapshot.names().is_some() {
        return snapshot.clone();
    }
    let names = NameStrings::new(cmdlines).of(snapshot, false);
    snapshot.clone().with_names(NamesAt::of(names))
}

impl NameStrings {
    /// With `cmdlines` the command lines of processes are among them.
    pub(super) fn new(cmdlines: bool) -> NameStrings {
        NameStrings {
            cmdlines,
            processes: HashMap::new(),
            named: HashMap::new(),
            unnamed: BTreeSet::new(),
            source: NameSource::Unknown,
            boot_id: None,
        }
    }

    /// Forgets what is in the file.
    pub(super) fn restart(&mut self) {
        self.processes.clear();
        self.named.clear();
        self.unnamed.clear();
    }

    /// The names that the file lacks for a snapshot. With `look_again` command lines are
    /// read even where nothing has changed: a program may write over its arguments.
    pub(super) fn of<B: AsRef<[u8]>>(
        &mut self,
        snapshot: &Snapshot<B>,
        look_again: bool,
    ) -> Vec<RecordedName> {
        self.set_source(snapshot);
        let mut names = self.new_users(snapshot);
        let _reading = ReadingOthers::begin();
        let is_partial = snapshot.header().flags.contains(Flags::WITHOUT_UNCHANGED);
        let mut processes = HashMap::with_capacity(if is_partial { 0 } else { snapshot.len() });
        let living = snapshot.len() - snapshot.header().exited as usize;
        for (row, record) in snapshot.iter().enumerate() {
            // The dead cannot be asked any more.
            if row >= living && !self.source.is_recorded() {
                continue;
            }
            names.extend(self.new_cgroup(&record));
            // One of a process's threads stands for all.
            if self.cmdlines
                && let Some(key) = StringKey::of_cmdline(&record)
                && !(is_partial && !look_again && self.is_known(key, &record))
                && let Entry::Vacant(place) = processes.entry(key)
            {
                let (arguments, named) = self.new_cmdline(key, &record, look_again);
                names.extend(named);
                place.insert(arguments);
            }
        }
        if is_partial {
            if !snapshot.header().threads() {
                for record in snapshot.iter().skip(living) {
                    StringKey::of_cmdline(&record).map(|key| self.processes.remove(&key));
                }
            }
            self.processes.extend(processes);
        } else {
            self.processes = processes;
        }
        names
    }

    /// Whether the arguments of a record's program are in the file.
    fn is_known(&self, key: StringKey, record: &Record<'_>) -> bool {
        let known = self.processes.get(&key);
        !self.source.is_recorded() && known.is_some_and(|known| known.image.is_of(record))
    }

    fn set_source<B: AsRef<[u8]>>(&mut self, snapshot: &Snapshot<B>) {
        let boot_id = Some(snapshot.header().boot_id);
        let same_boot = self.boot_id == boot_id;
        if !same_boot {
            self.restart();
        }
        if !same_boot || self.source.is_recorded() || snapshot.names().is_some() {
            self.source = NameSource::of(snapshot);
        }
        self.boot_id = boot_id;
    }

    fn new_users<B: AsRef<[u8]>>(&mut self, snapshot: &Snapshot<B>) -> Vec<RecordedName> {
        let mut users = mem::take(&mut self.unnamed);
        users.extend(snapshot.iter().filter_map(|record| record.ac_uid()));
        let mut names = Vec::new();
        for uid in users {
            let key = StringKey::of_user(uid);
            names.extend(self.new_name(key, |source| source.user(uid)));
            if !self.named.contains_key(&key) {
                self.unnamed.insert(uid);
            }
        }
        names
    }

    fn new_cgroup(&mut self, record: &Record<'_>) -> Option<RecordedName> {
        let id = record.cgroup_id().filter(|&id| id != 0)?;
        self.new_name(StringKey::of_cgroup(id), |source| source.cgroup(record, id))
    }

    /// A name that is not in the file. This machine is asked once for each; a recording may
    /// have another one later.
    fn new_name(
        &mut self,
        key: StringKey,
        ask: impl FnOnce(&NameSource) -> Option<Vec<u8>>,
    ) -> Option<RecordedName> {
        let known = self.named.get(&key).copied();
        if known.is_some() && !self.source.is_recorded() {
            return None;
        }
        let text = ask(&self.source)?;
        let hash = hash(&text);
        self.named.insert(key, hash);
        (known != Some(hash)).then_some(RecordedName { key, start_ns: 0, text })
    }

    /// The arguments of a process, and their string where it is not in the file.
    fn new_cmdline(
        &self,
        key: StringKey,
        record: &Record<'_>,
        look_again: bool,
    ) -> (Arguments, Option<RecordedName>) {
        let image = Image::of(record);
        let known = self.processes.get(&key);
        let cpu_ns = record.cpu_ns();
        let has_run = known.is_some_and(|known| cpu_ns.is_none() || known.cpu_ns != cpu_ns);
        let look_again = look_again && has_run || self.source.is_recorded();
        if let Some(known) = known.filter(|known| known.image.is_of(record) && !look_again) {
            return (known.clone(), None);
        }
        let text = self.source.cmdline(record).map(cut);
        let arguments = Arguments { hash: text.as_deref().map(hash), image, cpu_ns };
        let same = |known: &Arguments| {
            known.hash == arguments.hash && known.image.start_ns == arguments.image.start_ns
        };
        if known.is_some_and(same) {
            return (arguments, None);
        }
        // The arguments of an earlier process with this pid end where these are unknown.
        let start_ns = if text.is_some() { arguments.image.start_ns } else { UNKNOWN };
        (arguments, Some(RecordedName { key, start_ns, text: text.unwrap_or_default() }))
    }
}
