//! Sets full recordings aside under numbered names, and finds them.
//!
//! Design decisions
//!
//! * `dump.tsd` becomes `dump-000001.tsd`, then `dump-000002.tsd`. The number has exactly
//!   six digits, so that a name with a date is never taken for one of these.
//! * Only a recording of the same host is removed, by its owner. Any other file with such a
//!   name is the user's.
//! * A number is never used twice: a rename replaces no file.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::unistd::geteuid;
use precise_top_core::dump::Cursor;

use super::append::{directory, sync_directory};
use super::file::DumpFile;
use crate::errors::Error;

const DIGITS: usize = 6;
const LARGEST_NUMBER: u32 = 999_999;

fn failed(path: &Path) -> impl Fn(io::Error) -> Error + '_ {
    move |error| Error::file(path, error)
}

/// `dump.tsd` as `dump-000001.tsd`.
fn with_number(path: &Path, number: u32) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{number:0DIGITS$}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// The files beside `path` with its numbered names, ascending, whatever they are.
fn numbered(path: &Path) -> io::Result<Vec<(u32, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory(path))? {
        let other = path.with_file_name(entry?.file_name());
        let stem = other.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let number = stem.rsplit_once('-').and_then(|(_, digits)| digits.parse().ok());
        let number =
            number.filter(|&number| number <= LARGEST_NUMBER && with_number(path, number) == other);
        found.extend(number.map(|number| (number, other)));
    }
    found.sort();
    Ok(found)
}

/// Renames a finished recording to the next numbered name.
pub(super) fn set_aside(path: &Path) -> Result<(), Error> {
    let last = numbered(path).map_err(failed(path))?.last().map_or(0, |&(number, _)| number);
    let next = last.checked_add(1).filter(|&number| number <= LARGEST_NUMBER);
    let Some(next) = next else {
        return Err(Error::Unsupported {
            reason: format!("{} has no number left to be set aside under", path.display()),
            hint: format!("remove {} or record to another file", with_number(path, last).display()),
        });
    };
    rename(path, &with_number(path, next)).and_then(|()| sync_directory(path)).map_err(failed(path))
}

/// Renames a file, but replaces none.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE) {
        // Some network file systems cannot do that in one step.
        Err(Errno::EINVAL | Errno::ENOSYS) => match fs::symlink_metadata(to) {
            Ok(_) => Err(ErrorKind::AlreadyExists.into()),
            Err(_) => fs::rename(from, to),
        },
        renamed => Ok(renamed?),
    }
}

/// The recordings of `host` that were set aside, the oldest first.
pub(super) fn set_aside_by(path: &Path, host: &str) -> Result<Vec<PathBuf>, Error> {
    let numbered = numbered(path).map_err(failed(path))?.into_iter();
    Ok(numbered.map(|(_, file)| file).filter(|file| is_own(file, host)).collect())
}

/// Whether a file is a recording of `host` that the caller made.
fn is_own(file: &Path, host: &str) -> bool {
    let is_ours = fs::symlink_metadata(file)
        .is_ok_and(|metadata| metadata.is_file() && metadata.uid() == geteuid().as_raw());
    is_ours
        && DumpFile::open(file, true, None)
            .and_then(|dump| dump.snapshot(0, &mut Cursor::default()))
            .is_ok_and(|first| first.header().host == host)
}
