//! Appends snapshots to a dump.
//!
//! Design decisions
//!
//! * One write(2) a snapshot, at the file's end: a process that is killed at any moment
//!   leaves all earlier snapshots readable. An unfinished write is taken back at once (full
//!   disk) or by the next recorder.
//! * fdatasync(2) every few seconds bounds the loss of a power failure. The tail may then
//!   hold anything, which the frames' checksums detect.
//! * Each write checks the length of the file: behind a file that another program has cut,
//!   frames could not be read.
//! * Each sync checks that the file still has its name: a removed file is of no use.
//! * The file is locked (flock), has mode 0600, and never was anything but a dump. A file
//!   system without flock or fsync is written to nevertheless: [`Recorder::lacks`] says so.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{self, Path, PathBuf};
use std::time::{Duration, Instant};

use precise_top_core::dump::Writer;
use precise_top_core::names::RecordedName;
use precise_top_core::{CgroupReadings, CgroupsAt, ParseError, Snapshot};

use super::append::{Opened, Place, open_file, where_possible};
use super::cgroup_sampler::CgroupSampler;
use super::name_strings::NameStrings;
use super::policy::Policy;
use super::retention::{Retention, check_free};
use super::rotation::set_aside;
use crate::errors::Error;

/// A dump that is being written.
pub struct Recorder {
    path: PathBuf,
    /// The absolute path, which a later change of the working directory leaves alone.
    place: PathBuf,
    policy: Policy,
    file: File,
    writer: Writer,
    /// CLOCK_REALTIME ns of the file's first snapshot, whoever recorded it: a recorder that
    /// is started again each hour fills a day's file as well.
    begun_ns: Option<u64>,
    /// The length of the file with the part of a snapshot that could not be taken back.
    leftover_end: Option<u64>,
    synced: Instant,
    dropped: u64,
    lacks: Vec<String>,
    strings: NameStrings,
    cgroups: CgroupSampler,
    /// The files that were set aside, once they are known.
    retention: Option<Retention>,
    /// Whether the metadata is in the file.
    is_described: bool,
}

impl Recorder {
    /// Opens a file to append to: a new one, or a dump that is continued. Unsupported for
    /// any other file, for one that another recorder writes, and in a directory that others
    /// may write to for a link and for a file that others own or may write.
    pub fn open(path: &Path, policy: Policy) -> Result<Recorder, Error> {
        Recorder::open_as(path, policy, Place::New)
    }

    fn open_as(path: &Path, policy: Policy, expected: Place) -> Result<Recorder, Error> {
        let Opened { file, writer, begun_ns, dropped, lacks } = open_file(path, &policy, expected)?;
        let place = path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Ok(Recorder {
            path: path.to_owned(),
            place,
            strings: NameStrings::new(policy.cmdlines),
            cgroups: CgroupSampler::default(),
            policy,
            file,
            writer,
            begun_ns,
            leftover_end: None,
            synced: Instant::now(),
            dropped,
            lacks,
            retention: None,
            is_described: false,
        })
    }

    /// Bytes of the current file.
    pub fn size(&self) -> u64 {
        self.writer.offset() as u64
    }

    /// Bytes that an earlier recorder left unfinished, and that were dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// What the file system of the file cannot do, in words: lock it, or sync it.
    pub fn lacks(&self) -> &[String] {
        &self.lacks
    }

    /// Appends a snapshot, with the names that are new in it: those of its recording, or
    /// this machine's where it is of its present boot. One of only the tasks that ran has to
    /// follow the one before it, and is read as a whole one. Where that fails, the file is left as
    /// it was before, and can be read; where even that fails, the error says so.
    pub fn write<B: AsRef<[u8]>>(&mut self, snapshot: &Snapshot<B>) -> Result<(), Error> {
        self.write_with(snapshot, None)
    }

    /// The same, for a snapshot of a history with the readings of cgroups at that time.
    pub fn write_with<B: AsRef<[u8]>>(
        &mut self,
        snapshot: &Snapshot<B>,
        cgroups: Option<&CgroupsAt>,
    ) -> Result<(), Error> {
        let now_ns = snapshot.header().begin.realtime_ns;
        let host = self.policy.host.as_ref().unwrap_or(&snapshot.header().host).clone();
        if self.is_full(now_ns) {
            self.rotate()?;
        }
        self.check_length()?;
        if let Some(least) = self.policy.min_free {
            check_free(&self.file, &self.path, least)?;
        }
        match self.writer.completed(snapshot)? {
            Some(whole) => self.write_next(&whole, &host, cgroups)?,
            None => self.write_next(snapshot, &host, cgroups)?,
        }
        self.begun_ns.get_or_insert(now_ns);
        if self.policy.sync.is_some_and(|longest| self.synced.elapsed() >= longest) {
            self.sync()?;
        }
        Ok(())
    }

    /// Appends a snapshot; a whole one where its frame has to be full.
    fn write_next<B: AsRef<[u8]>>(
        &mut self,
        snapshot: &Snapshot<B>,
        host: &str,
        cgroups: Option<&CgroupsAt>,
    ) -> Result<(), Error> {
        let begin = self.writer.offset();
        let names = self.strings.of(snapshot, self.writer.is_full_next());
        let cgroups = match cgroups {
            Some(cgroups) => self.cgroups.copied(cgroups),
            None => self.cgroups.of(snapshot),
        };
        let bytes = self.frames(&snapshot.with_host(host), &names, cgroups);
        let bytes = bytes.inspect_err(|_| self.restart(begin))?;
        self.make_room(host).inspect_err(|_| self.restart(begin))?;
        self.append(&bytes, begin)?;
        self.is_described = true;
        Ok(())
    }

    /// The frames of a snapshot, with what comes before it.
    fn frames(
        &mut self,
        snapshot: &Snapshot<&[u8]>,
        names: &[RecordedName],
        cgroups: Option<CgroupReadings>,
    ) -> Result<Vec<u8>, ParseError> {
        let mut bytes = match self.is_described {
            true => Vec::new(),
            false => self.writer.metadata(&self.policy.metadata)?,
        };
        bytes.append(&mut self.writer.strings(names)?);
        if let Some(cgroups) = cgroups {
            bytes.append(&mut self.writer.cgroups(&cgroups)?);
        }
        bytes.append(&mut self.writer.snapshot(snapshot)?);
        Ok(bytes)
    }

    /// Whether the file is to be set aside before a snapshot of that time.
    fn is_full(&self, now_ns: u64) -> bool {
        let Some(begun_ns) = self.begun_ns else { return false };
        // The difference has no sign: a clock that was set back does not stop rotation.
        let age = Duration::from_nanos(now_ns.abs_diff(begun_ns));
        let policy = &self.policy;
        let most = [policy.rotate_bytes, policy.keep_bytes.map(|bytes| bytes / 2)];
        let longest = [policy.rotate_after, policy.keep_for.map(|longest| longest / 2)];
        most.into_iter().flatten().any(|most| self.size() >= most)
            || longest.into_iter().flatten().any(|longest| age >= longest)
    }

    /// Removes the files that are not kept when the file has its present length.
    fn make_room(&mut self, host: &str) -> Result<(), Error> {
        if !self.policy.is_limited() {
            return Ok(());
        }
        let size = self.size();
        let retention = match &mut self.retention {
            Some(retention) => retention,
            None => self.retention.insert(Retention::list(&self.path, host)?),
        };
        retention.enforce(&self.policy, size)
    }

    /// Waits until all snapshots are on the disk. ENOENT where the file was removed or
    /// replaced meanwhile, EIO where another program changed its length.
    pub fn sync(&mut self) -> Result<(), Error> {
        self.check_length()?;
        where_possible(self.file.sync_data()).map_err(|error| self.failed(error))?;
        self.synced = Instant::now();
        self.check_name()
    }

    /// Compares the file's length with what was written. An emptied file (`: > FILE`, or
    /// logrotate's copytruncate) becomes a dump again from its beginning.
    fn check_length(&mut self) -> Result<(), Error> {
        let length = self.file.metadata().map_err(|error| self.failed(error))?.len();
        if length == self.size() || self.leftover_end == Some(length) {
            return Ok(());
        }
        if length > 0 {
            let what = format!(
                "{} was changed by another program while it was recorded to: start the \
                 recording again, with another file",
                self.path.display()
            );
            return Err(Error::os(what, io::Error::from_raw_os_error(libc::EIO)));
        }
        let (writer, preamble) = Writer::new(self.policy.options);
        self.file.write_all_at(&preamble, 0).map_err(|error| self.failed(error))?;
        let before = std::mem::replace(&mut self.writer, writer);
        self.writer.take_over(before);
        self.strings.restart();
        self.cgroups.restart();
        self.is_described = false;
        self.begun_ns = None;
        Ok(())
    }

    fn check_name(&self) -> Result<(), Error> {
        let own = self.file.metadata().map_err(|error| self.failed(error))?;
        let gone = match fs::metadata(&self.place) {
            Ok(there) => (there.dev(), there.ino()) != (own.dev(), own.ino()),
            // After privileges were dropped the place may be out of reach.
            Err(_) => own.nlink() == 0,
        };
        if gone {
            let what = format!(
                "{} was removed or replaced while it was recorded to: start the recording again",
                self.path.display()
            );
            return Err(Error::os(what, io::Error::from_raw_os_error(libc::ENOENT)));
        }
        Ok(())
    }

    /// Ends the file with an index.
    pub fn finish(&mut self) -> Result<(), Error> {
        self.check_length()?;
        let begin = self.writer.offset();
        let bytes = self.writer.finish()?;
        self.append(&bytes, begin)?;
        self.sync()
    }

    fn failed(&self, error: io::Error) -> Error {
        Error::file(&self.path, error)
    }

    fn append(&mut self, bytes: &[u8], begin: usize) -> Result<(), Error> {
        let begin_at = begin as u64;
        let Err(error) = self.file.write_all_at(bytes, begin_at) else {
            let end = begin_at + bytes.len() as u64;
            self.leftover_end = self.leftover_end.filter(|&leftover| leftover > end);
            return Ok(());
        };
        // A part may have been written. If it cannot be cut off, the next snapshot overwrites it.
        let cut = self.file.set_len(begin_at);
        self.leftover_end = self.file.metadata().ok().map(|left| left.len());
        self.restart(begin);
        Err(self.failed(match cut {
            Ok(()) => error,
            Err(cut) => io::Error::new(
                error.kind(),
                format!("{error}; the part of the snapshot could not be taken back: {cut}"),
            ),
        }))
    }

    /// Forgets all that was made from `begin` on.
    fn restart(&mut self, begin: usize) {
        self.writer.restart(begin);
        self.strings.restart();
        self.cgroups.restart();
        self.is_described = false;
    }

    /// Sets the file aside under the next number, and begins a new one.
    fn rotate(&mut self) -> Result<(), Error> {
        self.finish()?;
        set_aside(&self.path)?;
        let next = Recorder::open_as(&self.path, self.policy.clone(), Place::Free)?;
        let before = std::mem::replace(self, next);
        self.writer.take_over(before.writer);
        Ok(())
    }
}
