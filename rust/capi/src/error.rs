//! Errors: a status that functions return, and its explanation in a structure of the caller.

use std::ffi::c_char;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};

use precise_top_core::{ErrorKind, ParseError};
use precise_top_sources as sources;

/// Result of a function.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Success.
    Ok = 0,
    /// An argument is wrong: NULL, an unknown name, a structure without its size.
    Argument = 1,
    /// A privilege is missing.
    Access = 2,
    /// The task does not exist.
    NoTask = 3,
    /// The kernel or this machine lacks what is needed.
    Unsupported = 4,
    /// A system call failed.
    System = 5,
    /// The bytes cannot be understood.
    Parse = 6,
    /// The memory ran out.
    Memory = 7,
    /// A fault in the library.
    Internal = 8,
    /// The value is unknown.
    Unknown = 9,
}

/// Length of an error's message with its final NUL.
pub const TASKSTATS_MESSAGE_SIZE: usize = 488;

/// Explanation of a status. A function writes it where it fails. Its size is fixed.
#[repr(C)]
pub struct Error {
    /// The status that was returned.
    pub status: Status,
    /// The system's error number, 0 where there is none.
    pub os_errno: i32,
    /// Where in the bytes the error is. For TASKSTATS_STATUS_PARSE.
    pub offset: u64,
    /// The cause and what to do, in UTF-8, ended by a NUL.
    pub message: [c_char; TASKSTATS_MESSAGE_SIZE],
}

/// An error before it is written for the caller.
#[derive(Debug)]
pub(crate) struct Failure {
    status: Status,
    os_errno: i32,
    offset: u64,
    message: String,
}

impl Failure {
    fn new(status: Status, message: impl Into<String>) -> Failure {
        Failure { status, os_errno: 0, offset: 0, message: message.into() }
    }

    pub(crate) fn argument(message: impl Into<String>) -> Failure {
        Failure::new(Status::Argument, message)
    }

    pub(crate) fn unknown(message: impl Into<String>) -> Failure {
        Failure::new(Status::Unknown, message)
    }

    /// Writes the error for the caller, if he wants it. A message that is too long is cut.
    fn write(&self, error: Option<&mut MaybeUninit<Error>>) {
        let Some(error) = error else { return };
        let mut end = self.message.len().min(TASKSTATS_MESSAGE_SIZE - 1);
        while !self.message.is_char_boundary(end) {
            end -= 1;
        }
        let mut message = [0; TASKSTATS_MESSAGE_SIZE];
        for (letter, &byte) in message.iter_mut().zip(&self.message.as_bytes()[..end]) {
            *letter = byte as c_char;
        }
        let Failure { status, os_errno, offset, .. } = *self;
        error.write(Error { status, os_errno, offset, message });
    }
}

impl From<ParseError> for Failure {
    fn from(error: ParseError) -> Failure {
        let status = match error.kind {
            ErrorKind::OutOfMemory => Status::Memory,
            _ => Status::Parse,
        };
        Failure { offset: error.offset as u64, ..Failure::new(status, error.to_string()) }
    }
}

impl From<sources::Error> for Failure {
    fn from(error: sources::Error) -> Failure {
        let (status, offset) = match &error {
            sources::Error::AccessDenied { .. } => (Status::Access, 0),
            sources::Error::NoSuchTask(_) => (Status::NoTask, 0),
            sources::Error::Unsupported { .. } => (Status::Unsupported, 0),
            sources::Error::Os { .. } | sources::Error::File { .. } => (Status::System, 0),
            sources::Error::Parse(parse) | sources::Error::Damaged { error: parse, .. } => {
                (Status::Parse, parse.offset as u64)
            }
            sources::Error::GivenUp(_) => (Status::Memory, 0),
        };
        Failure { os_errno: error.errno(), offset, ..Failure::new(status, error.to_string()) }
    }
}

/// Does `work`. An error, or a panic, becomes a status and is explained in `error`.
pub(crate) fn guarded(
    error: Option<&mut MaybeUninit<Error>>,
    work: impl FnOnce() -> Result<(), Failure>,
) -> Status {
    // What a panic interrupts is not used again, or is immutable, or guards itself.
    let outcome = catch_unwind(AssertUnwindSafe(work));
    let failed = || Failure::new(Status::Internal, "a fault in libtaskstats: please report it");
    match outcome.unwrap_or_else(|_| Err(failed())) {
        Ok(()) => Status::Ok,
        Err(failure) => {
            failure.write(error);
            failure.status
        }
    }
}

/// Returns the value of `work`; `otherwise` where that panics.
pub(crate) fn guarded_value<T>(otherwise: T, work: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(otherwise)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The status of `work`, and the explanation of its failure.
    fn failed(work: impl FnOnce() -> Result<(), Failure>) -> Error {
        let mut error = MaybeUninit::zeroed();
        let status = guarded(Some(&mut error), work);
        // SAFETY: zeros are a valid error, and so is what was written.
        let error = unsafe { error.assume_init() };
        assert_eq!(error.status, status);
        error
    }

    #[test]
    fn a_panic_is_an_error() {
        assert_eq!(failed(|| panic!("no")).status, Status::Internal);
        assert_eq!(guarded(None, || panic!("no")), Status::Internal);
        assert_eq!(guarded_value(7, || panic!("no")), 7);
    }

    #[test]
    fn a_long_message_is_cut_between_letters() {
        for start in 0..2 {
            let long = "x".repeat(start) + &"é".repeat(TASKSTATS_MESSAGE_SIZE);
            let error = failed(|| Err(Failure::argument(long)));
            let bytes: Vec<u8> = error.message.iter().map(|&letter| letter as u8).collect();
            let end = bytes.iter().position(|&byte| byte == 0).expect("a final NUL");
            assert!(end >= TASKSTATS_MESSAGE_SIZE - 3);
            assert!(str::from_utf8(&bytes[..end]).is_ok());
        }
    }

    #[test]
    fn an_error_keeps_its_errno_and_offset() {
        let error = failed(|| Err(sources::Error::from_reply(-libc::ESRCH).into()));
        assert_eq!((error.status, error.os_errno), (Status::NoTask, libc::ESRCH));
        let error = failed(|| Err(ParseError::new(ErrorKind::Truncated, 9).into()));
        assert_eq!((error.status, error.offset), (Status::Parse, 9));
    }
}
