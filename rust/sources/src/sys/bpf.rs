//! The bpf(2) system call, as far as the bpf source needs it
//! (include/uapi/linux/bpf.h).

use std::ffi::{CStr, c_void};
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use aya_obj::generated::{bpf_insn, bpf_link_info, bpf_prog_info};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

use super::thread::without_signals;

const MAP_CREATE: libc::c_long = 0;
const MAP_LOOKUP_ELEM: libc::c_long = 1;
const MAP_UPDATE_ELEM: libc::c_long = 2;
const MAP_DELETE_ELEM: libc::c_long = 3;
const MAP_GET_NEXT_KEY: libc::c_long = 4;
const PROG_LOAD: libc::c_long = 5;
const PROG_TEST_RUN: libc::c_long = 10;
const PROG_GET_FD_BY_ID: libc::c_long = 13;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const RAW_TRACEPOINT_OPEN: libc::c_long = 17;
const LINK_CREATE: libc::c_long = 28;
const LINK_GET_FD_BY_ID: libc::c_long = 30;
const LINK_GET_NEXT_ID: libc::c_long = 31;
const ITER_CREATE: libc::c_long = 33;

/// BPF_PROG_TYPE_TRACING
const TRACING: u32 = 26;
/// BPF_PROG_TYPE_SYSCALL
const SYSCALL: u32 = 31;
/// BPF_TRACE_ITER
const ATTACH_ITER: u32 = 28;
/// BPF_TRACE_FENTRY
const ATTACH_FENTRY: u32 = 24;
/// BPF_TRACE_RAW_TP
const ATTACH_RAW_TP: u32 = 23;
/// BPF_LOG_STATS: reasons and statistics.
const LOG_STATS: u32 = 4;
/// BPF_F_SLEEPABLE
const SLEEPABLE: u32 = 1 << 4;

/// What a map is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MapSpec {
    /// BPF_MAP_TYPE_*.
    pub(crate) kind: u32,
    pub(crate) key_size: u32,
    pub(crate) value_size: u32,
    pub(crate) max_entries: u32,
    pub(crate) flags: u32,
}

/// How a program is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProgramKind {
    /// On demand, preemptible.
    Syscall,
    /// At a tracepoint, whose BTF type is given.
    Tracepoint(u32),
    /// At the begin of a kernel function, whose BTF function is given.
    Function(u32),
    /// By an iterator, whose BTF function is given.
    Iterator(u32),
}

#[repr(C)]
#[derive(Default)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    map_name: [u8; 16],
}

#[repr(C)]
struct MapUpdate {
    map_fd: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
    prog_btf_fd: u32,
    func_info_rec_size: u32,
    func_info: u64,
    func_info_cnt: u32,
    line_info_rec_size: u32,
    line_info: u64,
    line_info_cnt: u32,
    attach_btf_id: u32,
}

#[repr(C)]
#[derive(Default)]
struct TestRun {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    pad: u32,
}

#[repr(C)]
struct ObjectInfo {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

#[repr(C)]
#[derive(Default)]
struct ById {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

#[repr(C)]
struct TracepointOpen {
    name: u64,
    prog_fd: u32,
    pad: u32,
}

#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
}

#[repr(C)]
struct IterCreate {
    link_fd: u32,
    flags: u32,
}

/// # Safety
///
/// `attr` must be the attributes of `command`, and every pointer in it valid for
/// what the command does with it.
unsafe fn bpf<T>(command: libc::c_long, attr: &mut T) -> io::Result<libc::c_int> {
    // SAFETY: the size is that of `attr`; the rest is the caller's promise.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, ptr_of(attr), mem::size_of::<T>() as libc::c_uint)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as libc::c_int) }
}

/// Runs a command that needs kernel memory. Kernels before 5.11 charge that memory to
/// RLIMIT_MEMLOCK and fail with EPERM where the limit is too low. Raises the limit then, and
/// keeps it only where that helped: on these kernels later maps need it as well.
///
/// # Safety
///
/// As for [`bpf`].
unsafe fn bpf_with_memory<T>(command: libc::c_long, attr: &mut T) -> io::Result<libc::c_int> {
    // SAFETY: the caller's promise.
    let first = unsafe { bpf(command, attr) };
    let Err(error) = &first else { return first };
    if error.raw_os_error() != Some(libc::EPERM) {
        return first;
    }
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_MEMLOCK) else { return first };
    let raised = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY)
        .or_else(|_| setrlimit(Resource::RLIMIT_MEMLOCK, hard, hard));
    if soft == RLIM_INFINITY || raised.is_err() {
        return first;
    }
    // SAFETY: the caller's promise.
    let second = unsafe { bpf(command, attr) };
    if second.is_err() {
        // Lowering a limit needs no privilege.
        let _ = setrlimit(Resource::RLIMIT_MEMLOCK, soft, hard);
    }
    second
}

/// The limit of locked memory in bytes; None where there is no limit.
pub(crate) fn memory_limit() -> Option<u64> {
    let (soft, _) = getrlimit(Resource::RLIMIT_MEMLOCK).ok()?;
    Some(soft).filter(|&soft| soft != RLIM_INFINITY)
}

fn ptr_of<T>(value: &mut T) -> *mut c_void {
    (&raw mut *value).cast()
}

fn owned(fd: RawFd) -> OwnedFd {
    // SAFETY: called with a descriptor that the kernel has just made for us alone.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn name_of(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (byte, &letter) in bytes.iter_mut().zip(name.as_bytes().iter().take(15)) {
        *byte = letter;
    }
    bytes
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    // A descriptor is never negative.
    fd.as_raw_fd().cast_unsigned()
}

/// Makes a map; one of maps takes after the map `inner`.
pub(crate) fn create_map(
    name: &str,
    spec: MapSpec,
    inner: Option<BorrowedFd<'_>>,
) -> io::Result<OwnedFd> {
    let mut attr = MapCreate {
        map_type: spec.kind,
        key_size: spec.key_size,
        value_size: spec.value_size,
        max_entries: spec.max_entries,
        map_flags: spec.flags,
        inner_map_fd: inner.map_or(0, raw),
        map_name: name_of(name),
        ..MapCreate::default()
    };
    // SAFETY: these are the attributes of this command, and hold no pointer.
    unsafe { bpf_with_memory(MAP_CREATE, &mut attr) }.map(owned)
}

/// Puts a map into an array of maps.
pub(crate) fn set_inner_map(
    outer: BorrowedFd<'_>,
    index: u32,
    inner: BorrowedFd<'_>,
) -> io::Result<()> {
    let value = raw(inner);
    let mut attr = MapUpdate {
        map_fd: raw(outer),
        pad: 0,
        key: (&raw const index) as u64,
        value: (&raw const value) as u64,
        flags: 0,
    };
    // SAFETY: key and value of an array of maps are four bytes each, as these are.
    unsafe { bpf(MAP_UPDATE_ELEM, &mut attr) }.map(drop)
}

/// Takes the element with an eight-byte key out of a hash.
pub(crate) fn delete_element(map: BorrowedFd<'_>, key: u64) -> io::Result<()> {
    let mut attr =
        MapUpdate { map_fd: raw(map), pad: 0, key: (&raw const key) as u64, value: 0, flags: 0 };
    // SAFETY: the key is of eight bytes, as this map's are; the command takes no value.
    unsafe { bpf(MAP_DELETE_ELEM, &mut attr) }.map(drop)
}

/// All elements of a map whose keys are of 16 bytes and whose values are of two words.
pub(crate) fn elements(map: BorrowedFd<'_>) -> io::Result<Vec<([u8; 16], [u64; 2])>> {
    let mut found = Vec::new();
    let mut last: Option<[u8; 16]> = None;
    loop {
        let mut key = [0_u8; 16];
        let mut value = [0_u64; 2];
        let mut next = MapUpdate {
            map_fd: raw(map),
            pad: 0,
            key: last.as_ref().map_or(0, |key| key.as_ptr() as u64),
            value: key.as_mut_ptr() as u64,
            flags: 0,
        };
        // SAFETY: both keys are of 16 bytes, as this map's are; null asks for the first.
        match unsafe { bpf(MAP_GET_NEXT_KEY, &mut next) } {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(found),
            done => done?,
        };
        let mut lookup = MapUpdate {
            map_fd: raw(map),
            pad: 0,
            key: key.as_ptr() as u64,
            value: value.as_mut_ptr() as u64,
            flags: 0,
        };
        // SAFETY: key and value are of 16 bytes each, as this map's are.
        unsafe { bpf(MAP_LOOKUP_ELEM, &mut lookup) }?;
        found.push((key, value));
        last = Some(key);
    }
}

/// The values of a map whose keys are of eight bytes and whose values are of `size`.
pub(crate) fn values(map: BorrowedFd<'_>, size: usize) -> io::Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    let mut last: Option<u64> = None;
    loop {
        let mut key = 0_u64;
        let mut next = MapUpdate {
            map_fd: raw(map),
            pad: 0,
            key: last.as_ref().map_or(0, |key| (&raw const *key) as u64),
            value: (&raw mut key) as u64,
            flags: 0,
        };
        // SAFETY: both keys are of eight bytes, as this map's are; null asks for the first.
        match unsafe { bpf(MAP_GET_NEXT_KEY, &mut next) } {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(found),
            done => done?,
        };
        let mut value = vec![0_u8; size];
        let mut lookup = MapUpdate {
            map_fd: raw(map),
            pad: 0,
            key: (&raw const key) as u64,
            value: value.as_mut_ptr() as u64,
            flags: 0,
        };
        // SAFETY: the key is of eight bytes and the value of `size`, as this map's are.
        if unsafe { bpf(MAP_LOOKUP_ELEM, &mut lookup) }.is_ok() {
            found.push(value);
        }
        last = Some(key);
    }
}

/// Loads a program. On failure the last lines of the verifier's log come with the error.
pub(crate) fn load_program(
    name: &str,
    kind: ProgramKind,
    instructions: &[bpf_insn],
    license: &CStr,
) -> Result<OwnedFd, (io::Error, String)> {
    let (prog_type, expected_attach_type, attach_btf_id, prog_flags) = match kind {
        ProgramKind::Syscall => (SYSCALL, 0, 0, SLEEPABLE),
        ProgramKind::Tracepoint(id) => (TRACING, ATTACH_RAW_TP, id, 0),
        ProgramKind::Function(id) => (TRACING, ATTACH_FENTRY, id, 0),
        ProgramKind::Iterator(id) => (TRACING, ATTACH_ITER, id, 0),
    };
    let mut attr = ProgLoad {
        prog_type,
        insn_cnt: instructions.len() as u32,
        insns: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        prog_flags,
        prog_name: name_of(name),
        expected_attach_type,
        attach_btf_id,
        ..ProgLoad::default()
    };
    // SAFETY: the instructions and the license live for the length of the call.
    let first = unsafe { verify(&mut attr) };
    match first {
        Ok(fd) => Ok(owned(fd)),
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => Err((error, String::new())),
        Err(error) => {
            // Again, with a log. Without a trace of the instructions it is short: older kernels
            // keep only the beginning of one that is too long, and refuse 16 MiB for it.
            let mut log = vec![0_u8; 1 << 16];
            attr.log_level = LOG_STATS;
            attr.log_size = log.len() as u32;
            attr.log_buf = log.as_mut_ptr() as u64;
            // SAFETY: as above, and the log is valid for writes of its length.
            let second = unsafe { verify(&mut attr) };
            if let Ok(fd) = second {
                return Ok(owned(fd));
            }
            let end = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
            Err((error, String::from_utf8_lossy(&log[..end]).into_owned()))
        }
    }
}

/// Loads a program, however many signals come.
///
/// The verifier gives up where one is pending, as it may always be in a program that starts
/// many others. libbpf only tries five times.
///
/// # Safety
///
/// Every pointer in `attr` is valid, that of the log for writes.
unsafe fn verify(attr: &mut ProgLoad) -> io::Result<i32> {
    without_signals(|| {
        let mut attempts = 0;
        loop {
            attempts += 1;
            // SAFETY: the caller's promise.
            match unsafe { bpf_with_memory(PROG_LOAD, attr) } {
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) && attempts < 10 => {}
                done => break done,
            }
        }
    })
}

/// Runs a program of kind [`ProgramKind::Syscall`] once.
pub(crate) fn run(program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = TestRun { prog_fd: raw(program), ..TestRun::default() };
    // SAFETY: these are the attributes of this command, and all pointers in it are null.
    unsafe { bpf(PROG_TEST_RUN, &mut attr) }.map(drop)
}

/// Runs of a program that the kernel skipped, because another one of it was under way on the
/// same CPU; 0 on kernels that do not count them (before 5.12).
pub(crate) fn recursion_misses(program: BorrowedFd<'_>) -> io::Result<u64> {
    // SAFETY: the structure of a program, of integers only.
    let info: bpf_prog_info = unsafe { info_of(program) }?;
    Ok(info.recursion_misses)
}

/// Instructions that the verifier followed, on all paths together; 0 before Linux 5.16.
#[cfg(test)]
pub(crate) fn verified_instructions(program: BorrowedFd<'_>) -> io::Result<u32> {
    // SAFETY: the structure of a program, of integers only.
    let info: bpf_prog_info = unsafe { info_of(program) }?;
    Ok(info.verified_insns)
}

/// Names of all programs that are attached by links. Fails without CAP_SYS_ADMIN.
pub(crate) fn attached_programs() -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    let mut link = ById::default();
    loop {
        // SAFETY: these are the attributes of this command, and hold no pointer.
        match unsafe { bpf(LINK_GET_NEXT_ID, &mut link) } {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(names),
            done => done?,
        };
        link.id = link.next_id;
        match program_of_link(link.id) {
            Ok(name) => names.push(name),
            // It was detached meanwhile.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            Err(error) => return Err(error),
        }
    }
}

/// The name of the program of a link.
fn program_of_link(id: u32) -> io::Result<String> {
    let link = open_by_id(LINK_GET_FD_BY_ID, id)?;
    // SAFETY: the structure of a link, of integers only.
    let link: bpf_link_info = unsafe { info_of(link.as_fd()) }?;
    let program = open_by_id(PROG_GET_FD_BY_ID, link.prog_id)?;
    // SAFETY: the structure of a program, of integers only.
    let program: bpf_prog_info = unsafe { info_of(program.as_fd()) }?;
    // c_char is signed on x86-64 and unsigned on aarch64.
    let bytes = program.name.iter().map(|byte| byte.to_ne_bytes()[0]).take_while(|&byte| byte != 0);
    Ok(String::from_utf8_lossy(&bytes.collect::<Vec<u8>>()).into_owned())
}

fn open_by_id(command: libc::c_long, id: u32) -> io::Result<OwnedFd> {
    let mut attr = ById { id, ..ById::default() };
    // SAFETY: these are the attributes of both commands, and hold no pointer.
    unsafe { bpf(command, &mut attr) }.map(owned)
}

/// What the kernel says of an object.
///
/// # Safety
///
/// `T` must be the structure of that kind of object, and any bytes valid for it.
unsafe fn info_of<T>(object: BorrowedFd<'_>) -> io::Result<T> {
    // SAFETY: any bytes are valid, so zeros are.
    let mut info: T = unsafe { mem::zeroed() };
    let mut attr = ObjectInfo {
        bpf_fd: raw(object),
        info_len: mem::size_of_val(&info) as u32,
        info: (&raw mut info) as u64,
    };
    // SAFETY: `info` is valid for writes of its length during the call.
    unsafe { bpf(OBJ_GET_INFO_BY_FD, &mut attr) }?;
    Ok(info)
}

/// Attaches a program to its tracepoint or function, until the result is dropped.
pub(crate) fn attach(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attr = TracepointOpen { name: 0, prog_fd: raw(program), pad: 0 };
    // SAFETY: these are the attributes of this command; the name is null, since the
    // program knows its place.
    unsafe { bpf(RAW_TRACEPOINT_OPEN, &mut attr) }.map(owned)
}

/// Links an iterator's program.
pub(crate) fn link_iterator(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attr =
        LinkCreate { prog_fd: raw(program), target_fd: 0, attach_type: ATTACH_ITER, flags: 0 };
    // SAFETY: these are the attributes of this command, and hold no pointer.
    unsafe { bpf(LINK_CREATE, &mut attr) }.map(owned)
}

/// Begins a pass of a linked iterator; reading the result to its end makes the pass.
pub(crate) fn begin_iterator(link: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attr = IterCreate { link_fd: raw(link), flags: 0 };
    // SAFETY: these are the attributes of this command, and hold no pointer.
    unsafe { bpf(ITER_CREATE, &mut attr) }.map(owned)
}
