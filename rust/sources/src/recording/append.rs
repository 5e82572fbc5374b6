//! Opens the file that a recorder appends to.
//!
//! Design decisions
//!
//! * A directory that others may write to is a trap: there no link is followed, and no file
//!   is continued that belongs to another user or that others may write. In other
//!   directories a link is the user's own.
//! * A new file is made exclusively, so that nobody can put another one in its place.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::FlockArg;
use nix::unistd::geteuid;
use precise_top_core::dump::{Index, Writer, is_dump};

use super::policy::Policy;
use crate::errors::Error;
use crate::sys;
use crate::sys::map::FileMap;

/// Permission to write, for the group and for others.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The errors of flock(2), fsync(2) and fdatasync(2) on file systems without them.
const CANNOT: [i32; 4] = [libc::ENOSYS, libc::EOPNOTSUPP, libc::EINVAL, libc::ENOLCK];

/// A file to append to.
pub(super) struct Opened {
    pub(super) file: File,
    pub(super) writer: Writer,
    /// CLOCK_REALTIME ns of its first snapshot.
    pub(super) begun_ns: Option<u64>,
    /// Bytes that were dropped from its end.
    pub(super) dropped: u64,
    /// What the file system cannot do, in words.
    pub(super) lacks: Vec<String>,
}

/// What is expected at the path of a recording.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Nothing, or a dump to be continued.
    New,
    /// Nothing: the file before was just set aside.
    Free,
}

fn failed(path: &Path) -> impl Fn(io::Error) -> Error + '_ {
    move |error| Error::file(path, error)
}

fn refused(path: &Path, reason: &str, hint: &str) -> Error {
    Error::Unsupported { reason: format!("{} {reason}", path.display()), hint: hint.into() }
}

pub(super) fn open_file(path: &Path, policy: &Policy, expected: Place) -> Result<Opened, Error> {
    let (options, failed) = (policy.options, failed(path));
    let mut file = create_or_open(path, policy.mode, expected)?;
    let locked = match lock(&file) {
        Err(Errno::EWOULDBLOCK) => {
            return Err(refused(path, "is being recorded to", "give another name"));
        }
        locked => where_possible(locked.map_err(io::Error::from)).map_err(&failed)?,
    };
    let synced = where_possible(file.sync_data()).map_err(&failed)?;
    let shown = path.display();
    let lacks = [
        (!locked).then(|| format!("{shown} cannot be locked here: start no second recorder")),
        (!synced).then(|| format!("{shown} cannot be synced here: a power failure may lose it")),
    ];
    let lacks = lacks.into_iter().flatten().collect();
    let length = file.metadata().map_err(&failed)?.len();
    let (fresh, preamble) = Writer::new(options);
    if length < preamble.len() as u64 && is_begun(&mut file, &preamble).map_err(&failed)? {
        file.set_len(0).map_err(&failed)?;
        file.write_all_at(&preamble, 0).map_err(&failed)?;
        sync_directory(path).map_err(&failed)?;
        return Ok(Opened { file, writer: fresh, begun_ns: None, dropped: 0, lacks });
    }
    let map = FileMap::new(&file, length as usize).map_err(&failed)?;
    if !is_dump(map.as_ref()) {
        let hint = "give the name of a new file";
        return Err(refused(path, "is no dump and stays as it is", hint));
    }
    let index = Index::of(map.as_ref(), &sys::holes(&file, length as usize))?;
    let end = index.end() as u64;
    let writer = Writer::resume(options, &index);
    let begun_ns = index.time_ns(0);
    drop(map);
    // Padding of the last frame may be missing; bytes behind it are of an unfinished one.
    file.set_len(end).map_err(&failed)?;
    Ok(Opened { file, writer, begun_ns, dropped: length.saturating_sub(end), lacks })
}

/// Whether a short file is the begin of a preamble: its recorder was stopped early.
fn is_begun(file: &mut File, preamble: &[u8]) -> io::Result<bool> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(preamble.starts_with(&bytes))
}

/// Makes the file, or opens one that is there and may be continued.
fn create_or_open(path: &Path, mode: u32, expected: Place) -> Result<File, Error> {
    let failed = failed(path);
    let shared = is_shared(path);
    let mut open = OpenOptions::new();
    open.read(true).write(true).mode(mode);
    match open.clone().create_new(true).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && expected == Place::New => {}
        made => {
            let file = made.map_err(&failed)?;
            // Whatever the umask leaves.
            file.set_permissions(Permissions::from_mode(mode)).map_err(&failed)?;
            return Ok(file);
        }
    }
    let no_links = if shared { libc::O_NOFOLLOW } else { 0 };
    // A dangling link of the user's own names the file to be made.
    open.create(!shared).custom_flags(libc::O_NONBLOCK | no_links);
    let file = open.open(path).map_err(|error| match error.raw_os_error() {
        Some(libc::ELOOP) if shared => refused(
            path,
            "is a link in a directory that others may write to",
            "give the name that it stands for",
        ),
        _ => failed(error),
    })?;
    let metadata = file.metadata().map_err(&failed)?;
    if !metadata.is_file() {
        return Err(refused(path, "is no regular file", "give the name of a new file"));
    }
    let of_others =
        metadata.uid() != geteuid().as_raw() || metadata.mode() & WRITABLE_BY_OTHERS != 0;
    if shared && of_others {
        return Err(refused(
            path,
            "belongs to another user, or others may write to it",
            "give the name of a new file",
        ));
    }
    Ok(file)
}

/// Whether others than the caller and root may put files into the directory of `path`, or
/// into that of the file that it links to.
fn is_shared(path: &Path) -> bool {
    let shared = |path: &Path| {
        fs::metadata(directory(path)).is_ok_and(|directory| {
            directory.mode() & WRITABLE_BY_OTHERS != 0
                || ![0, geteuid().as_raw()].contains(&directory.uid())
        })
    };
    shared(path) || fs::canonicalize(path).is_ok_and(|target| shared(&target))
}

/// Locks a file against other recorders while it is open.
#[expect(deprecated, reason = "Flock unlocks when it is dropped, in a forked child too")]
fn lock(file: &File) -> nix::Result<()> {
    nix::fcntl::flock(file.as_raw_fd(), FlockArg::LockExclusiveNonblock)
}

/// The directory of a file.
pub(super) fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes a new name outlast a power failure, where the file system can.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    where_possible(File::open(directory(path))?.sync_all()).map(|_| ())
}

/// Returns false where the file system cannot do what was requested. Recordings are written
/// there all the same.
pub(super) fn where_possible(done: io::Result<()>) -> io::Result<bool> {
    match done {
        Err(error) if error.raw_os_error().is_some_and(|errno| CANNOT.contains(&errno)) => {
            Ok(false)
        }
        done => done.map(|()| true),
    }
}
