//! Errors of sources. The errno survives to the user.

use std::fmt;
use std::io;
use std::path::PathBuf;

use precise_top_core::{ErrorKind, ParseError, wire};

/// MAX_ERRNO (include/linux/err.h).
const LARGEST_ERRNO: i32 = 4095;

/// An error of a source.
#[derive(Debug)]
pub enum Error {
    /// The caller lacks a privilege.
    AccessDenied {
        /// What was refused.
        reason: String,
        /// What to type next.
        hint: String,
    },
    /// No such task (ESRCH); 0 where the id is not known.
    NoSuchTask(u32),
    /// The kernel or this machine lacks what is needed.
    Unsupported {
        /// What is missing.
        reason: String,
        /// What to type next, if anything helps.
        hint: String,
    },
    /// A system call failed.
    Os {
        /// The action that failed.
        context: String,
        /// The system's error.
        error: io::Error,
    },
    /// A system call failed on a file that the caller has named.
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
    /// The kernel sent data that cannot be parsed.
    Parse(ParseError),
    /// Reading a recorded file was given up: OutOfMemory or Interrupted.
    GivenUp(ParseError),
    /// A recorded file holds data that cannot be parsed.
    Damaged {
        /// The file.
        path: String,
        /// The fault and its place.
        error: ParseError,
    },
}

impl Error {
    /// A failed system call; `context` names the action.
    pub fn os(context: impl Into<String>, error: io::Error) -> Error {
        Error::Os { context: context.into(), error }
    }

    /// A failed system call on a file that the caller has named.
    pub fn file(path: impl Into<PathBuf>, error: io::Error) -> Error {
        Error::File { path: path.into(), error }
    }

    /// The error of a netlink reply's code, a negative errno. Parse where it is none.
    pub fn from_reply(code: i32) -> Error {
        match code.saturating_neg() {
            libc::ESRCH => Error::NoSuchTask(0),
            libc::EPERM => Error::netlink_denied(),
            errno @ 1..=LARGEST_ERRNO => {
                Error::os("taskstats request", io::Error::from_raw_os_error(errno))
            }
            _ => Error::Parse(ParseError::new(ErrorKind::BadValue, wire::MESSAGE_HEADER)),
        }
    }

    /// Netlink's refusal for want of CAP_NET_ADMIN.
    pub(crate) fn netlink_denied() -> Error {
        Error::AccessDenied {
            reason: "taskstats over netlink needs CAP_NET_ADMIN in the initial user namespace"
                .into(),
            hint: "run it as root outside containers, or use the procfs source".into(),
        }
    }

    /// The refusal in a forked child to use what belongs to its parent.
    pub fn forked(what: &str) -> Error {
        Error::Unsupported {
            reason: format!("this {what} belongs to the process that opened it"),
            hint: "open another one after the fork".into(),
        }
    }

    /// The errno behind the error, 0 where there is none.
    pub fn errno(&self) -> i32 {
        match self {
            Error::AccessDenied { .. } => libc::EPERM,
            Error::NoSuchTask(_) => libc::ESRCH,
            Error::Unsupported { .. } => libc::EOPNOTSUPP,
            Error::Os { error, .. } | Error::File { error, .. } => {
                error.raw_os_error().unwrap_or(0)
            }
            Error::Parse(_) | Error::GivenUp(_) | Error::Damaged { .. } => 0,
        }
    }
}

impl From<ParseError> for Error {
    fn from(error: ParseError) -> Error {
        Error::Parse(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::AccessDenied { reason, hint } | Error::Unsupported { reason, hint } => {
                f.write_str(reason)?;
                if hint.is_empty() { Ok(()) } else { write!(f, "; {hint}") }
            }
            Error::NoSuchTask(0) => f.write_str("no such task"),
            Error::NoSuchTask(pid) => write!(f, "no task {pid}"),
            Error::Os { context, error } => write!(f, "{context}: {}", in_words(error)),
            Error::File { path, error } => write!(f, "{}: {}", path.display(), in_words(error)),
            Error::Parse(error) => write!(f, "unexpected data from the kernel: {error}"),
            Error::GivenUp(error) => f.write_str(error.kind.message()),
            Error::Damaged { path, error } => write!(f, "{path}: {error}"),
        }
    }
}

impl std::error::Error for Error {}

/// The system's words for an error, without its number, which [`Error::errno`] returns.
pub fn in_words(error: &io::Error) -> String {
    let mut words = error.to_string();
    if let Some(errno) = error.raw_os_error() {
        let number = format!(" (os error {errno})");
        words.truncate(words.strip_suffix(&number).unwrap_or(&words).len());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_a_file_has_its_text_once() {
        let error = Error::file("/none", io::Error::from_raw_os_error(libc::ENOENT));
        assert_eq!(error.to_string(), "/none: No such file or directory");
        assert_eq!(error.errno(), libc::ENOENT);
        let error = Error::os("act", io::Error::other("it failed"));
        assert_eq!(error.to_string(), "act: it failed");
    }

    #[test]
    fn a_code_that_is_no_errno_is_a_parse_error() {
        assert!(matches!(Error::from_reply(-libc::EIO), Error::Os { error, .. }
            if error.raw_os_error() == Some(libc::EIO)));
        for code in [258, 1, 0, -4096, i32::MIN, i32::MAX] {
            assert!(matches!(Error::from_reply(code), Error::Parse(_)), "{code}");
        }
    }
}
