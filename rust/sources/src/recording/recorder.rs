//! Appends snapshots to a dump.
//!
//! Design decisions
//!
//! * One write(2) a snapshot, at the file's end: killed at any moment, the process leaves
//!   all snapshots before the one it was writing. What a write left unfinished is taken
//!   back at once (full disk) or by the next recorder.
//! * fdatasync(2) every few seconds bounds what a loss of power costs. Its tail may hold
//!   anything: the frames' checksums tell.
//! * Whether the file still has its name is asked whenever it is synced: what is written to
//!   one that was removed is nowhere.
//! * The file is locked (flock), made with mode 0600, and never anything but a dump.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{self, Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::FlockArg;
use precise_top_core::dump::{Index, Options, Writer, is_dump};
use precise_top_core::names::{RecordedName, StringKey, UNKNOWN};
use precise_top_core::{Record, Snapshot};

use super::process_names::{ProcNames, user_name};
use crate::errors::Error;
use crate::sys;

/// When to make what of a recording.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// How snapshots become frames.
    pub options: Options,
    /// The longest time that a loss of power may cost; None leaves it to the kernel.
    pub sync: Option<Duration>,
    /// A file of that many bytes is finished and put aside.
    pub rotate_bytes: Option<u64>,
    /// A file whose first snapshot is that long ago is finished and put aside.
    pub rotate_after: Option<Duration>,
    /// How many files that were put aside are kept; None keeps all.
    pub keep: Option<usize>,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            options: Options::default(),
            sync: Some(Duration::from_secs(10)),
            rotate_bytes: None,
            rotate_after: None,
            keep: None,
        }
    }
}

/// A dump that is being written.
pub struct Recorder {
    path: PathBuf,
    /// The same, whatever the current directory will be.
    place: PathBuf,
    policy: Policy,
    file: File,
    writer: Writer,
    /// CLOCK_REALTIME ns of the present file's first snapshot, whoever recorded it: a
    /// recorder that is started anew each hour fills a day's file as well.
    begun_ns: Option<u64>,
    synced: Instant,
    dropped: u64,
    /// The processes of the last snapshot, with what is written of their arguments.
    processes: HashMap<StringKey, Arguments>,
    /// Users and cgroups whose names are written.
    named: HashSet<StringKey>,
    proc: ProcNames,
}

impl Recorder {
    /// Opens a file to append to: a new one, or a dump that is continued. Unsupported
    /// for any other file, and for one that another recorder writes.
    pub fn open(path: &Path, policy: Policy) -> Result<Recorder, Error> {
        let Opened { file, writer, begun_ns, dropped } = open_file(path, policy.options)?;
        let place = path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Ok(Recorder {
            path: path.to_owned(),
            place,
            policy,
            file,
            writer,
            begun_ns,
            synced: Instant::now(),
            dropped,
            processes: HashMap::new(),
            named: HashSet::new(),
            proc: ProcNames::new(),
        })
    }

    /// Bytes of the present file.
    pub fn size(&self) -> u64 {
        self.writer.offset() as u64
    }

    /// Bytes that an earlier recorder had left unfinished, and that were dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Appends a snapshot, with the names that are new in it. Where that fails, the file
    /// is left as it was before, and can be read; where even that fails, the error says so.
    pub fn write<B: AsRef<[u8]>>(&mut self, snapshot: &Snapshot<B>) -> Result<(), Error> {
        let full = self.policy.rotate_bytes.is_some_and(|most| self.size() >= most);
        let now_ns = snapshot.header().begin.realtime_ns;
        // A clock that was set back by that much is no reason to wait for it.
        let age = |begun_ns: u64| Duration::from_nanos(now_ns.abs_diff(begun_ns));
        let old = |begun_ns| self.policy.rotate_after.is_some_and(|most| age(begun_ns) >= most);
        if self.begun_ns.is_some_and(|begun_ns| full || old(begun_ns)) {
            self.rotate()?;
        }
        let begin = self.writer.offset();
        let names = self.names(snapshot);
        let strings = self.writer.strings(&names);
        let frames = strings.and_then(|strings| Ok((strings, self.writer.snapshot(snapshot)?)));
        let (mut bytes, mut frame) = frames.inspect_err(|_| self.restart(begin))?;
        bytes.append(&mut frame);
        self.append(&bytes, begin)?;
        self.begun_ns.get_or_insert(now_ns);
        if self.policy.sync.is_some_and(|most| self.synced.elapsed() >= most) {
            self.sync()?;
        }
        Ok(())
    }

    /// Waits until all that was written is on the disk. ENOENT where the file was removed
    /// or replaced meanwhile.
    pub fn sync(&mut self) -> Result<(), Error> {
        self.file.sync_data().map_err(|error| self.failed(error))?;
        self.synced = Instant::now();
        self.still_there()
    }

    fn still_there(&self) -> Result<(), Error> {
        let own = self.file.metadata().map_err(|error| self.failed(error))?;
        let gone = match fs::metadata(&self.place) {
            Ok(there) => (there.dev(), there.ino()) != (own.dev(), own.ino()),
            // It may have been moved, or be out of the reach of who gave up privileges.
            Err(_) => own.nlink() == 0,
        };
        if gone {
            let what = format!(
                "{} was removed or replaced while it was recorded to: start the recording anew",
                self.path.display()
            );
            return Err(Error::os(what, io::Error::from_raw_os_error(libc::ENOENT)));
        }
        Ok(())
    }

    /// Ends the file with an index.
    pub fn finish(&mut self) -> Result<(), Error> {
        let begin = self.writer.offset();
        let bytes = self.writer.finish()?;
        self.append(&bytes, begin)?;
        self.sync()
    }

    fn failed(&self, error: io::Error) -> Error {
        Error::os(self.path.display().to_string(), error)
    }

    fn append(&mut self, bytes: &[u8], begin: usize) -> Result<(), Error> {
        let Err(error) = self.file.write_all(bytes) else { return Ok(()) };
        // A part may have been written. What cannot be cut off is written over next.
        let place = self.file.seek(SeekFrom::Start(begin as u64));
        let cut = self.file.set_len(begin as u64).and(place);
        self.restart(begin);
        Err(self.failed(match cut {
            Ok(_) => error,
            Err(cut) => io::Error::new(
                error.kind(),
                format!("{error}; what was written of the snapshot could not be taken back: {cut}"),
            ),
        }))
    }

    /// Forgets what was to be written from `begin` on.
    fn restart(&mut self, begin: usize) {
        self.writer.restart(begin);
        self.processes.clear();
        self.named.clear();
    }

    /// Puts the file aside under the next number and begins a new one.
    fn rotate(&mut self) -> Result<(), Error> {
        self.finish()?;
        let mut aside = numbered(&self.path).map_err(|error| self.failed(error))?;
        let next = aside.last().map_or(1, |(number, _)| number + 1);
        let target = with_number(&self.path, next);
        fs::rename(&self.path, &target)
            .and_then(|()| sync_directory(&self.path))
            .map_err(|error| self.failed(error))?;
        aside.push((next, target));
        if let Some(keep) = self.policy.keep {
            for (_, old) in &aside[..aside.len().saturating_sub(keep)] {
                fs::remove_file(old)
                    .map_err(|error| Error::os(old.display().to_string(), error))?;
            }
        }
        let policy = self.policy;
        *self = Recorder::open(&self.path, policy)?;
        Ok(())
    }

    /// The names that the present file lacks.
    fn names<B: AsRef<[u8]>>(&mut self, snapshot: &Snapshot<B>) -> Vec<RecordedName> {
        let mut names = Vec::new();
        let mut processes = HashMap::with_capacity(snapshot.len());
        // A program may write over its arguments, which nothing else tells of.
        let look_again = self.writer.is_full_next();
        let living = snapshot.len() - snapshot.header().exited as usize;
        for (row, record) in snapshot.iter().enumerate() {
            let uid = record.ac_uid().map(|uid| (StringKey::of_user(uid), uid));
            if let Some((key, uid)) = uid
                && self.named.insert(key)
                && let Some(text) = user_name(uid)
            {
                names.push(RecordedName { key, start_ns: 0, text });
            }
            // Of the dead nothing else is to be asked.
            if row >= living {
                continue;
            }
            let pid = record.ac_pid().unwrap_or(0);
            // One of a process's threads stands for all.
            if let Some(key) = StringKey::of_cmdline(&record)
                && let Entry::Vacant(place) = processes.entry(key)
            {
                let image = Image::of(&record);
                let known = self.processes.get(&key);
                let arguments = match known.filter(|known| known.image == image && !look_again) {
                    Some(known) => known.clone(),
                    None => {
                        let text = self.proc.cmdline(&record);
                        let arguments = Arguments { hash: text.as_deref().map(hash), image };
                        let same = |known: &Arguments| {
                            known.hash == arguments.hash
                                && known.image.start_ns == arguments.image.start_ns
                        };
                        if !known.is_some_and(same) {
                            // What an earlier process of that pid was called does not
                            // stand where it is not known what this one is.
                            let start_ns =
                                if text.is_some() { arguments.image.start_ns } else { UNKNOWN };
                            names.push(RecordedName {
                                key,
                                start_ns,
                                text: text.unwrap_or_default(),
                            });
                        }
                        arguments
                    }
                };
                place.insert(arguments);
            }
            let cgroup = record.cgroup_id().filter(|&id| id != 0);
            if let Some(id) = cgroup
                && let key = StringKey::of_cgroup(id)
                && !self.named.contains(&key)
                && let Some(text) = self.proc.cgroup_path(pid, id)
            {
                self.named.insert(key);
                names.push(RecordedName { key, start_ns: 0, text });
            }
        }
        self.processes = processes;
        names
    }
}

/// What changes when a task executes another program, or another task has its pid.
#[derive(Clone, PartialEq, Eq)]
struct Image {
    start_ns: u64,
    comm: Vec<u8>,
    exe: (Option<u64>, Option<u64>),
}

impl Image {
    fn of(record: &Record<'_>) -> Image {
        Image {
            start_ns: record.exact_start_ns().unwrap_or(0),
            comm: record.ac_comm().unwrap_or_default().to_vec(),
            exe: (record.ac_exe_dev(), record.ac_exe_inode()),
        }
    }
}

/// Of the arguments that were written: what they were written for, and their hash.
#[derive(Clone)]
struct Arguments {
    image: Image,
    hash: Option<u64>,
}

fn hash(text: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(text);
    hasher.finish()
}

/// Locks a file against other recorders while it is open.
#[expect(deprecated, reason = "Flock unlocks when it is dropped, in a forked child too")]
fn lock(file: &File) -> nix::Result<()> {
    nix::fcntl::flock(file.as_raw_fd(), FlockArg::LockExclusiveNonblock)
}

/// A file to append to.
struct Opened {
    file: File,
    writer: Writer,
    /// CLOCK_REALTIME ns of its first snapshot.
    begun_ns: Option<u64>,
    /// Bytes that were dropped from its end.
    dropped: u64,
}

fn open_file(path: &Path, options: Options) -> Result<Opened, Error> {
    let failed = |error| Error::os(path.display().to_string(), error);
    let refused = |reason: &str, hint: &str| Error::Unsupported {
        reason: format!("{} {reason}", path.display()),
        hint: hint.into(),
    };
    let mut open = OpenOptions::new();
    open.read(true).write(true).create(true).mode(0o600).custom_flags(libc::O_NONBLOCK);
    let mut file = open.open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(refused("is no regular file", "give the name of a new file"));
    }
    match lock(&file) {
        Err(Errno::EWOULDBLOCK) => {
            return Err(refused("is being recorded to", "give another name"));
        }
        locked => locked.map_err(|errno| failed(errno.into()))?,
    }
    let length = file.metadata().map_err(failed)?.len();
    let (fresh, preamble) = Writer::new(options);
    // A recorder may have been stopped before the preamble was whole.
    let begun = length < preamble.len() as u64
        && fs::read(path).map_err(failed)?.iter().zip(&preamble).all(|(a, b)| a == b);
    if begun {
        file.set_len(0).map_err(failed)?;
        file.write_all(&preamble).map_err(failed)?;
        sync_directory(path).map_err(failed)?;
        return Ok(Opened { file, writer: fresh, begun_ns: None, dropped: 0 });
    }
    let map = sys::map::FileMap::new(&file, length as usize).map_err(failed)?;
    if !is_dump(map.as_ref()) {
        return Err(refused("is no dump and stays as it is", "give the name of a new file"));
    }
    let index = Index::of(map.as_ref())?;
    let end = index.end() as u64;
    let writer = Writer::resume(options, &index);
    let begun_ns = index.time_ns(0);
    drop(map);
    // Padding of the last frame may be missing; what is behind it is of an unfinished one.
    file.set_len(end).map_err(failed)?;
    file.seek(SeekFrom::Start(end)).map_err(failed)?;
    Ok(Opened { file, writer, begun_ns, dropped: length.saturating_sub(end) })
}

/// The directory that a file is in.
fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// That a new name outlasts a loss of power.
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(directory(path))?.sync_all()
}

/// `dump.tsd` as `dump-000001.tsd`.
fn with_number(path: &Path, number: u64) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{number:06}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// The files that were put aside, by number.
fn numbered(path: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory(path))? {
        let name = entry?.file_name();
        let other = path.with_file_name(&name);
        let stem = other.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let number = stem.rsplit_once('-').and_then(|(_, digits)| digits.parse().ok());
        if let Some(number) = number.filter(|&number| with_number(path, number) == other) {
            found.push((number, other));
        }
    }
    found.sort();
    Ok(found)
}
