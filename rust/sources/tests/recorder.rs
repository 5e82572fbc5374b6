//! Recordings: what they survive, and what they never touch.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};

use precise_top_core::dump::{Cursor, Options};
use precise_top_core::{FieldSet, SharedBytes, Snapshot, SourceKind};
use precise_top_sources::{DumpFile, Error, Policy, Recorder, Request, Source, open};

/// A directory that is removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Directory {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("recorder-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("a new directory");
        Directory(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn shared(self) -> Directory {
        fs::set_permissions(&self.0, fs::Permissions::from_mode(0o1777)).expect("an own one");
        self
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("the directory");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("the directory is there");
    }
}

fn source() -> Box<dyn Source> {
    open(Some(SourceKind::Procfs)).expect("procfs is everywhere")
}

fn take(source: &mut dyn Source) -> Snapshot<SharedBytes> {
    let request = Request { fields: FieldSet::EMPTY, ..Request::default() };
    source.snapshot(&request).expect("a snapshot")
}

fn recorder(path: &Path) -> Recorder {
    Recorder::open(path, Policy::default()).expect("a recorder")
}

/// Sets the file aside before each snapshot but the first.
fn rotating(keep: usize) -> Policy {
    Policy { rotate_bytes: Some(1), keep: Some(keep), ..Policy::default() }
}

fn snapshots(path: &Path) -> Vec<Snapshot<SharedBytes>> {
    let dump = DumpFile::open(path, true, None).expect("a dump");
    let mut cursor = Cursor::default();
    (0..dump.reader().len())
        .map(|index| dump.snapshot(index, &mut cursor).expect("a whole snapshot"))
        .collect()
}

fn refusal(path: &Path) -> String {
    match Recorder::open(path, Policy::default()) {
        Err(Error::Unsupported { reason, .. }) => reason,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("{} was opened", path.display()),
    }
}

#[test]
fn an_emptied_recording_begins_again() {
    let directory = Directory::new();
    let (path, mut source) = (directory.file("d.tsd"), source());
    let mut recorder = recorder(&path);
    for _ in 0..3 {
        recorder.write(&take(&mut *source)).expect("written");
    }
    File::create(&path).expect("emptied");
    for _ in 0..2 {
        recorder.write(&take(&mut *source)).expect("written");
    }
    recorder.finish().expect("finished");
    let seen = snapshots(&path);
    assert_eq!(seen.len(), 2);
    let row = seen[0].find_pid(std::process::id()).expect("this process");
    assert!(seen[0].recorded_cmdline(row).is_some(), "names are written again");
}

#[test]
fn a_recording_that_another_program_cuts_ends_with_an_error() {
    let directory = Directory::new();
    let (path, mut source) = (directory.file("d.tsd"), source());
    let mut recorder = recorder(&path);
    recorder.write(&take(&mut *source)).expect("written");
    let file = OpenOptions::new().write(true).open(&path).expect("the file");
    file.set_len(100).expect("cut");
    for error in [recorder.write(&take(&mut *source)), recorder.sync(), recorder.finish()] {
        let error = error.expect_err("the file was cut").to_string();
        assert!(error.contains("changed by another program"), "{error}");
    }
    assert_eq!(file.metadata().expect("the file").len(), 100, "nothing is behind a hole");
}

#[test]
fn rotation_keeps_the_newest_and_all_that_is_not_its_own() {
    let directory = Directory::new();
    let (path, mut source) = (directory.file("day.tsd"), source());
    // A dump of the user's own with a date, one of another host, a text, and a directory.
    let mut own = recorder(&directory.file("day-20261120.tsd"));
    own.write(&take(&mut *source)).expect("written");
    own.finish().expect("finished");
    fs::copy(directory.file("day-20261120.tsd"), directory.file("day-7.tsd")).expect("copied");
    fs::write(directory.file("day-000001.tsd"), "a text").expect("written");
    fs::create_dir(directory.file("day-000002.tsd")).expect("made");
    symlink("day-20261120.tsd", directory.file("day-000003.tsd")).expect("linked");
    let mut recorder = Recorder::open(&path, rotating(2)).expect("a recorder");
    for _ in 0..5 {
        recorder.write(&take(&mut *source)).expect("written");
    }
    drop(recorder);
    let users = ["000001", "000002", "000003", "20261120", "7"];
    let kept = |numbers: [&str; 2]| {
        let mut names: Vec<_> =
            users.iter().chain(&numbers).map(|number| format!("day-{number}.tsd")).collect();
        names.push("day.tsd".into());
        names.sort();
        names
    };
    assert_eq!(directory.names(), kept(["000006", "000007"]));
    // Older ones still go after a restart.
    let mut recorder = Recorder::open(&path, rotating(2)).expect("a recorder");
    recorder.write(&take(&mut *source)).expect("written");
    assert_eq!(directory.names(), kept(["000007", "000008"]));
}

#[test]
fn the_last_number_is_never_used_twice() {
    let directory = Directory::new();
    let (path, mut source) = (directory.file("d.tsd"), source());
    fs::write(directory.file("d-999999.tsd"), "kept").expect("written");
    fs::write(directory.file("d-18446744073709551615.tsd"), "kept").expect("written");
    let mut recorder = Recorder::open(&path, rotating(1)).expect("a recorder");
    recorder.write(&take(&mut *source)).expect("written");
    let error = recorder.write(&take(&mut *source)).expect_err("no number is left");
    assert!(error.to_string().contains("no number left"), "{error}");
    assert_eq!(fs::read(directory.file("d-999999.tsd")).expect("there"), b"kept");
    assert_eq!(snapshots(&path).len(), 1);
}

#[test]
fn in_a_shared_directory_nothing_of_others_is_continued() {
    let directory = Directory::new().shared();
    let foreign = directory.file("foreign.tsd");
    fs::write(&foreign, "").expect("written");
    fs::set_permissions(&foreign, fs::Permissions::from_mode(0o666)).expect("an own file");
    assert!(refusal(&foreign).contains("others may write to it"));
    let target = directory.file("target.tsd");
    symlink(&target, directory.file("link.tsd")).expect("linked");
    assert!(refusal(&directory.file("link.tsd")).contains("is a link"), "a dangling one");
    drop(recorder(&target));
    assert!(refusal(&directory.file("link.tsd")).contains("is a link"));
    let made = fs::metadata(&target).expect("there");
    assert_eq!(made.mode() & 0o777, 0o600);
    assert!(made.len() > 0);
    drop(recorder(&target));
}

#[test]
fn elsewhere_links_are_the_users_own() {
    let directory = Directory::new();
    let (link, target) = (directory.file("link.tsd"), directory.file("target.tsd"));
    symlink(&target, &link).expect("linked");
    recorder(&link).write(&take(&mut *source())).expect("written");
    assert_eq!(snapshots(&target).len(), 1);
}

#[test]
fn the_name_of_a_file_that_was_set_aside_is_not_taken_by_another() {
    let directory = Directory::new();
    let (path, mut source) = (directory.file("d.tsd"), source());
    let mut recorder = Recorder::open(&path, rotating(1)).expect("a recorder");
    recorder.write(&take(&mut *source)).expect("written");
    drop(recorder);
    let moved = directory.file("d-000001.tsd");
    symlink("/nonexistent", &moved).expect("linked");
    let mut recorder = Recorder::open(&path, rotating(1)).expect("a recorder");
    recorder.write(&take(&mut *source)).expect("written");
    assert_eq!(fs::read_link(&moved).expect("it stays"), Path::new("/nonexistent"));
    assert_eq!(snapshots(&directory.file("d-000002.tsd")).len(), 1);
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_long_command_line_is_cut_and_marked() {
    let directory = Directory::new();
    let path = directory.file("d.tsd");
    let long = "é".repeat(50_000);
    let sleeper = Command::new("sh")
        .args(["-c", "read _", &long])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("a shell");
    let sleeper = Killed(sleeper);
    recorder(&path).write(&take(&mut *source())).expect("written");
    let seen = snapshots(&path);
    let row = seen[0].find_pid(sleeper.0.id()).expect("the shell");
    let text = seen[0].recorded_cmdline(row).expect("its arguments");
    assert!(text.len() <= 4096 && text.len() > 4000, "{}", text.len());
    let text = std::str::from_utf8(text).expect("whole characters");
    assert!(text.starts_with("sh\0-c\0read _\0é") && text.ends_with("é…\0"));
}

#[test]
fn command_lines_are_left_out_where_they_are_not_wanted() {
    let directory = Directory::new();
    let path = directory.file("d.tsd");
    let policy = Policy { cmdlines: false, ..Policy::default() };
    let mut recorder = Recorder::open(&path, policy).expect("a recorder");
    recorder.write(&take(&mut *source())).expect("written");
    let seen = snapshots(&path);
    let row = seen[0].find_pid(std::process::id()).expect("this process");
    assert_eq!(seen[0].recorded_cmdline(row), None);
    assert!(seen[0].names().expect("names").user(0).is_some(), "users are named all the same");
}

#[test]
fn a_recorded_snapshot_keeps_its_own_names() {
    let directory = Directory::new();
    let (first, second) = (directory.file("first.tsd"), directory.file("second.tsd"));
    let sleeper = Killed(Command::new("sleep").arg("600").spawn().expect("sleep"));
    let pid = sleeper.0.id();
    let mut recording = recorder(&first);
    let mut source = source();
    recording.write(&take(&mut *source)).expect("written");
    recording.write(&take(&mut *source)).expect("written");
    // From now on this machine cannot be asked for it.
    drop(sleeper);
    let policy =
        Policy { options: Options { full_every: 1, ..Options::default() }, ..Policy::default() };
    let mut copy = Recorder::open(&second, policy).expect("a recorder");
    for snapshot in snapshots(&first) {
        copy.write(&snapshot).expect("written");
    }
    let (before, after) = (snapshots(&first), snapshots(&second));
    for (before, after) in before.iter().zip(&after) {
        for row in 0..before.len() {
            assert_eq!(before.recorded_cmdline(row), after.recorded_cmdline(row), "{row}");
        }
        let row = after.find_pid(pid).expect("the sleeper");
        assert_eq!(after.recorded_cmdline(row), Some(b"sleep\x00600\0".as_slice()));
        assert_eq!(
            before.names().and_then(|names| names.user(0).map(<[u8]>::to_vec)),
            after.names().and_then(|names| names.user(0).map(<[u8]>::to_vec))
        );
    }
    assert_eq!(after.len(), 2);
}

#[test]
fn another_machine_without_names_gets_none() {
    let directory = Directory::new();
    let path = directory.file("d.tsd");
    let own = take(&mut *source());
    let mut header = own.header().clone();
    header.boot_id = [7; 16];
    let bytes = own.record_bytes().to_vec();
    let count = own.len();
    let size = own.layout().record_size();
    header.masks = vec![own.filled()];
    let foreign =
        Snapshot::new(header, own.layout().clone(), SharedBytes::new(bytes), 0..count * size, 0..0)
            .expect("the same records");
    recorder(&path).write(&foreign).expect("written");
    let seen = snapshots(&path);
    let names = seen[0].names().expect("a dump");
    assert_eq!(names.user(0), None);
    assert!((0..seen[0].len()).all(|row| seen[0].recorded_cmdline(row).is_none()));
}
