//! A recorded file, mapped or read.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::ops::Range;
use std::os::fd::RawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use precise_top_core::columns::{ColumnKind, Columns};
use precise_top_core::dump::{Copies, Cursor, Damage, Reader, Stop};
use precise_top_core::{ParseError, SharedBytes, Snapshot};

use super::parallel_read::{self, Lost, Part};
use crate::errors::Error;
use crate::sys;
use crate::sys::map::FileMap;

/// A dump, a bare array of `struct taskstats`, or a snapshot's byte form, in a file.
pub struct DumpFile {
    path: PathBuf,
    reader: Reader,
    map: Option<Arc<FileMap>>,
    identity: (u64, u64),
    record_size: Option<usize>,
}

/// A piece of a file. File offset and memory are aligned to pages: unaligned copies take
/// several times as long on some processors.
#[derive(Default)]
struct Piece {
    memory: Vec<u8>,
    range: Range<usize>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        self.memory.get(self.range.clone()).unwrap_or_default()
    }
}

impl Piece {
    const PAGE: usize = 4096;
    /// Larger pieces do not stay in a cache, and would take their memory twice.
    const LARGEST: usize = 16 << 20;

    /// Reads that range of a file; an error where it ends before, or the range is too large.
    fn read(&mut self, file: &File, range: Range<usize>) -> io::Result<()> {
        let begin = range.start / Piece::PAGE * Piece::PAGE;
        let length = range.end.saturating_sub(begin);
        if length > Piece::LARGEST {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        if self.memory.len() < length + Piece::PAGE {
            self.memory = vec![0; (length + Piece::PAGE).next_power_of_two()];
        }
        let first = self.memory.as_ptr().align_offset(Piece::PAGE).min(Piece::PAGE);
        file.read_exact_at(&mut self.memory[first..first + length], begin as u64)?;
        self.range = first + range.start - begin..first + length;
        Ok(())
    }
}

impl DumpFile {
    /// Opens a file. With `map` it is mapped into memory where possible, so that uncompressed
    /// frames are read without a copy; otherwise it is read. `record_size` is for bare arrays,
    /// as in [`Snapshot::from_bare_records`]. Unsupported for other than regular files, which
    /// may have no end, or wait for a writer.
    pub fn open(path: &Path, map: bool, record_size: Option<usize>) -> Result<DumpFile, Error> {
        let file = open(path).map_err(|error| Error::file(path, error))?;
        DumpFile::of(file, path, map, record_size)
    }

    /// The same of an open descriptor, which stays open: a process may have opened it with
    /// rights that it gave up before it reads. `path` is its name.
    pub fn of_descriptor(
        descriptor: RawFd,
        path: &Path,
        map: bool,
        record_size: Option<usize>,
    ) -> Result<DumpFile, Error> {
        let file = sys::duplicate(descriptor).map_err(|error| Error::file(path, error))?;
        DumpFile::of(file, path, map, record_size)
    }

    fn of(
        mut file: File,
        path: &Path,
        map: bool,
        record_size: Option<usize>,
    ) -> Result<DumpFile, Error> {
        let failed = |error| Error::file(path, error);
        let metadata = file.metadata().map_err(failed)?;
        // Reading a directory is an error of its own.
        if !metadata.is_file() && !metadata.is_dir() {
            return Err(Error::Unsupported {
                reason: format!("{} is no regular file", path.display()),
                hint: "write what it holds to a file, and give the name of that".into(),
            });
        }
        let length = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
        let holes = if metadata.is_file() { sys::holes(&file, length) } else { Vec::new() };
        let mapped = if map && length > 0 {
            // A file that cannot be mapped is read.
            FileMap::new(&file, length).ok().map(Arc::new)
        } else {
            None
        };
        let bytes = match &mapped {
            Some(map) => SharedBytes::from_arc(Arc::clone(map)),
            None if !holes.is_empty() => {
                return Err(Error::Unsupported {
                    reason: format!("{} has holes and cannot be mapped", path.display()),
                    hint: "copy it with cp --sparse=never, and open the copy".into(),
                });
            }
            None => {
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes).map_err(failed)?;
                SharedBytes::new(bytes)
            }
        };
        let reader = Reader::with_holes(bytes, record_size, holes);
        // What is missing read as zeros, which is not the file's damage.
        still_whole(path, mapped.as_deref(), reader.is_err())?;
        let reader = reader.map_err(|error| failure(path, error))?;
        let identity = identity(&metadata);
        Ok(DumpFile { path: path.to_owned(), reader, map: mapped, identity, record_size })
    }

    /// The same of bytes in memory; `name` stands for them in messages.
    pub fn of_bytes(
        bytes: SharedBytes,
        name: &Path,
        record_size: Option<usize>,
    ) -> Result<DumpFile, Error> {
        let reader = Reader::new(bytes, record_size).map_err(|error| failure(name, error))?;
        Ok(DumpFile { path: name.to_owned(), reader, map: None, identity: (0, 0), record_size })
    }

    /// The file as it is now; None where it has not grown, and where another file has the name.
    pub fn grown(&self) -> Result<Option<DumpFile>, Error> {
        if self.identity == (0, 0) {
            return Ok(None);
        }
        let file = open(&self.path).map_err(|error| Error::file(&self.path, error))?;
        let metadata = file.metadata().map_err(|error| Error::file(&self.path, error))?;
        let has_grown = metadata.len() > self.reader.size() as u64;
        if identity(&metadata) != self.identity || !has_grown {
            return Ok(None);
        }
        DumpFile::of(file, &self.path, self.map.is_some(), self.record_size).map(Some)
    }

    /// The file's name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The reader of its contents.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// The snapshot at `index`; see [`Reader::snapshot`].
    pub fn snapshot(
        &self,
        index: usize,
        cursor: &mut Cursor,
    ) -> Result<Snapshot<SharedBytes>, Error> {
        let snapshot = self.reader.snapshot(index, cursor);
        self.still_whole(snapshot.is_err())?;
        snapshot.map_err(|error| failure(&self.path, error))
    }

    /// Reads every byte, and passes what cannot be read to `found`; see
    /// [`Reader::check_each`].
    pub fn check(&self, stop: Stop, mut found: impl FnMut(Damage)) -> Result<(), Error> {
        let mut damaged = false;
        let checked = self.reader.check_each(Cursor::default().until(stop), |damage| {
            damaged = true;
            found(damage);
        });
        self.still_whole(damaged)?;
        checked.map_err(|error| failure(&self.path, error))
    }

    /// Reads a mapped file by pread into one buffer that is used again while no copy is kept.
    /// Where each byte is read once, that is cheaper than page faults. None where the file
    /// cannot be opened again: the map is read then.
    fn copies(&self) -> Option<Copies> {
        self.map.as_ref()?;
        // Opened again, since fewer files may be open than mapped.
        let file = open(&self.path).ok()?;
        if identity(&file.metadata().ok()?) != self.identity {
            return None;
        }
        let mut piece = Arc::new(Piece::default());
        Some(Box::new(move |range| {
            if Arc::get_mut(&mut piece).is_none() {
                piece = Arc::default();
            }
            Arc::get_mut(&mut piece)?.read(&file, range).ok()?;
            Some(SharedBytes::from_arc(Arc::clone(&piece)))
        }))
    }

    /// An error where what was read met the end of a file that was cut short while it was
    /// mapped, or where it met damage, and the file was cut short anywhere.
    pub fn still_whole(&self, damage: bool) -> Result<(), Error> {
        still_whole(&self.path, self.map.as_deref(), damage)
    }
}

/// Opens a file for reading, without waiting for a writer.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)
}

/// Which file it is: device and inode.
fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn still_whole(path: &Path, map: Option<&FileMap>, damage: bool) -> Result<(), Error> {
    if map.is_some_and(|map| map.failed() || (damage && map.is_short())) {
        let cut = io::Error::other("the file was cut short while it was read");
        return Err(Error::file(path, cut));
    }
    Ok(())
}

fn failure(path: &Path, error: ParseError) -> Error {
    if error.kind.is_damage() {
        Error::Damaged { path: path.display().to_string(), error }
    } else {
        Error::GivenUp(error)
    }
}

/// The columns of all records of snapshots of several files, read by as many threads as
/// there are CPUs; each file with the indices of its snapshots. An error if a file was cut short
/// meanwhile, or if reading was given up, which `stop` requests by returning true; damage is in
/// the second value.
pub fn read_columns(
    files: &[(Arc<DumpFile>, Vec<usize>)],
    kinds: &[ColumnKind],
    stop: &Stop,
) -> Result<(Columns, Vec<Lost>), Error> {
    let paths: Vec<_> = files.iter().map(|(file, _)| file.path.to_string_lossy()).collect();
    let copies: Vec<_> = files.iter().map(|(file, _)| || file.copies()).collect();
    let parts: Vec<Part<'_>> = files
        .iter()
        .zip(&paths)
        .zip(&copies)
        .map(|(((file, indices), path), copies)| Part {
            reader: &file.reader,
            path,
            indices: indices.clone(),
            copies,
        })
        .collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let read = parallel_read::read(&parts, kinds, threads, sys::large_pages, stop);
    let damage = read.as_ref().is_ok_and(|(_, lost)| !lost.is_empty());
    files.iter().try_for_each(|(file, _)| file.still_whole(damage))?;
    read.map_err(Error::GivenUp)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twenty thousand records of version 16: bytes that repeat after 251.
    fn written(name: &str) -> (PathBuf, Vec<u8>) {
        const SIZE: usize = 560;
        let mut bytes: Vec<u8> = (0..SIZE as u32 * 20_000).map(|at| (at % 251) as u8).collect();
        for record in bytes.chunks_exact_mut(SIZE) {
            record[..2].copy_from_slice(&16_u16.to_ne_bytes());
        }
        let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        std::fs::write(&path, &bytes).expect("a writable directory");
        (path, bytes)
    }

    #[test]
    fn a_piece_is_what_the_file_has_there() {
        let (path, bytes) = written("piece");
        let file = File::open(&path).expect("the file");
        let mut piece = Piece::default();
        for range in [0..1, 0..5000, 4095..4097, 4096..8192, 12_345..700_001, 8_639_999..8_640_000]
        {
            piece.read(&file, range.clone()).expect("in the file");
            assert_eq!(piece.as_ref(), &bytes[range.clone()], "{range:?}");
        }
        let end = bytes.len();
        assert!(piece.read(&file, end - 1..end + 1).is_err(), "beyond the end");
        assert!(piece.read(&file, 0..Piece::LARGEST + 1).is_err(), "too large");
        std::fs::remove_file(path).expect("there");
    }

    #[test]
    fn copies_lie_in_the_same_memory_if_none_is_kept() {
        let (path, bytes) = written("copies");
        let dump = DumpFile::open(&path, true, None).expect("records");
        let mut copies = dump.copies().expect("of a mapped file");
        let mut place = |range: Range<usize>| {
            let copy = copies(range.clone()).expect("in the file");
            assert_eq!(copy.as_ref(), &bytes[range]);
            (copy.as_ref().as_ptr(), copy)
        };
        let (first, _) = place(0..100_000);
        let (again, kept) = place(4096..104_096);
        assert_eq!(first, again);
        let (other, _) = place(0..100_000);
        assert_ne!(first, other);
        assert_eq!(kept.as_ref(), &bytes[4096..104_096], "what is kept stays");

        assert!(DumpFile::open(&path, false, None).expect("records").copies().is_none());
        std::fs::remove_file(&path).expect("there");
        assert!(dump.copies().is_none(), "of a file that is gone");
        std::fs::write(&path, &bytes).expect("a writable directory");
        assert!(dump.copies().is_none(), "of another file");
        std::fs::remove_file(&path).expect("there");
    }
}
