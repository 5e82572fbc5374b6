//! Conditions that a row has to meet, as a user types them.
//!
//! ```text
//! alternative | alternative        one of them
//! term term                        all of them
//! !term                            not
//! word  "two words"  /regex/  ~regex   in the name or command line; a number is a pid too
//! column>10M                       a number, with = != > < >= <= and a unit
//! user=root  cgroup:docker  state=R,D  name~^k   a text: = the whole, : a part, ~ a regex
//! ```
//!
//! Design decisions
//!
//! * ASCII letters of either case are equal everywhere, also in regexes.
//! * A group meets a condition on texts where one of its tasks does, and one on numbers by its
//!   own number.
//! * Texts that records do not have come from [`Texts`]; one that is not known matches nothing.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use regex::bytes::Regex;

use super::metric::Metric;
use crate::field_set::FieldSet;
use crate::fields::Field;
use crate::record::Record;
use crate::state;

/// Texts that records do not have.
pub trait Texts: fmt::Debug + Send + Sync {
    /// The arguments of a record's process, each ended by a NUL; None where they are unknown.
    fn arguments(&self, record: &Record<'_>) -> Option<Arc<[u8]>>;
    /// The name of a user; None where there is none.
    fn user(&self, uid: u32) -> Option<Arc<[u8]>>;
    /// The path of the cgroup of a record's task; None where it is unknown.
    fn cgroup(&self, record: &Record<'_>) -> Option<Arc<[u8]>>;
    /// How many per cent of the texts that were asked for are known; None for all of them.
    fn progress(&self) -> Option<u8>;
}

/// What a condition asks of a row.
pub(super) trait FilteredRow {
    fn title(&self) -> Option<&[u8]>;
    /// The value of a metric; None where it is unknown or a text.
    fn number(&self, metric: Metric) -> Option<f64>;
    /// Whether the test holds for a record of the row.
    fn any_record(&self, test: &dyn Fn(&Record<'_>) -> bool) -> bool;
}

/// A condition on rows.
#[derive(Debug)]
pub struct Condition {
    text: String,
    alternatives: Vec<Vec<Term>>,
}

/// A part of a condition.
#[derive(Debug)]
pub(super) struct Term {
    pub(super) negated: bool,
    pub(super) test: Test,
}

#[derive(Debug)]
pub(super) enum Test {
    /// In the name or command line; a number is a pid as well.
    Anywhere(Match),
    Text(Subject, Match),
    /// One of these letters.
    State(String),
    Number(Metric, Comparison, f64),
}

/// A text of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Name,
    Command,
    User,
    Cgroup,
}

#[derive(Debug)]
pub(super) enum Match {
    Part(Vec<u8>),
    Whole(Vec<u8>),
    Pattern(Regex),
}

impl Match {
    fn is_in(&self, text: &[u8]) -> bool {
        match self {
            Match::Part(part) => contains(text, part),
            Match::Whole(whole) => text.eq_ignore_ascii_case(whole),
            Match::Pattern(regex) => regex.is_match(text),
        }
    }
}

/// Whether a text contains another one; ASCII letters of either case are equal.
pub(super) fn contains(text: &[u8], part: &[u8]) -> bool {
    let Some(first) = part.first() else { return true };
    let (upper, lower) = (first.to_ascii_uppercase(), first.to_ascii_lowercase());
    let last = (text.len() + 1).saturating_sub(part.len());
    // The first byte decides nearly always.
    (0..last).any(|at| {
        (text[at] == lower || text[at] == upper)
            && text[at..at + part.len()].eq_ignore_ascii_case(part)
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Greater,
    Less,
    AtLeast,
    AtMost,
}

impl Comparison {
    fn holds(self, a: f64, b: f64) -> bool {
        match self {
            Comparison::Equal => a == b,
            Comparison::NotEqual => a != b,
            Comparison::Greater => a > b,
            Comparison::Less => a < b,
            Comparison::AtLeast => a >= b,
            Comparison::AtMost => a <= b,
        }
    }
}

impl Condition {
    pub(super) fn new(text: &[u8], mut alternatives: Vec<Vec<Term>>) -> Condition {
        // The order means nothing: texts that have to be read come last.
        alternatives.iter_mut().for_each(|terms| terms.sort_by_key(|term| term.test.cost()));
        Condition { text: String::from_utf8_lossy(text).into_owned(), alternatives }
    }

    /// What the user typed.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn tests(&self) -> impl Iterator<Item = &Test> {
        self.alternatives.iter().flatten().map(|term| &term.test)
    }

    /// The metrics that it compares.
    pub fn metrics(&self) -> impl Iterator<Item = Metric> {
        self.tests().filter_map(|test| match test {
            Test::Number(metric, ..) => Some(*metric),
            _ => None,
        })
    }

    /// The fields that it needs of the source.
    pub fn fields(&self) -> FieldSet {
        let texts = self.tests().filter_map(|test| match test {
            Test::State(_) => Some(Field::state),
            Test::Text(Subject::Cgroup, _) => Some(Field::cgroup_id),
            _ => None,
        });
        self.metrics().filter_map(Metric::field).chain(texts).collect()
    }

    fn holds(&self, row: &dyn FilteredRow, texts: &dyn Texts) -> bool {
        let holds = |term: &Term| term.test.holds(row, texts) != term.negated;
        self.alternatives.iter().any(|terms| terms.iter().all(holds))
    }
}

impl Test {
    /// How much it costs, compared with others.
    fn cost(&self) -> u8 {
        match self {
            Test::Number(..) | Test::State(_) => 0,
            Test::Text(Subject::Name, _) => 1,
            Test::Text(Subject::User, _) => 2,
            Test::Text(Subject::Cgroup, _) => 3,
            Test::Text(Subject::Command, _) | Test::Anywhere(_) => 4,
        }
    }

    fn holds(&self, row: &dyn FilteredRow, texts: &dyn Texts) -> bool {
        let any = |test: &dyn Fn(&Record<'_>) -> bool| row.any_record(test);
        match self {
            Test::Number(metric, comparison, wanted) => {
                row.number(*metric).is_some_and(|number| comparison.holds(number, *wanted))
            }
            Test::State(letters) => any(&|record| {
                record.state().is_some_and(|state| letters.contains(state::letter(state)))
            }),
            Test::Anywhere(wanted) => {
                row.title().is_some_and(|title| wanted.is_in(title))
                    || any(&|record| is_anywhere(wanted, record, texts))
            }
            Test::Text(Subject::Name, wanted) => {
                row.title().is_some_and(|title| wanted.is_in(title))
                    || any(&|record| record.ac_comm().is_some_and(|name| wanted.is_in(name)))
            }
            Test::Text(Subject::Command, wanted) => {
                any(&|record| command(record, texts).is_some_and(|command| wanted.is_in(&command)))
            }
            Test::Text(Subject::User, wanted) => any(&|record| is_user(wanted, record, texts)),
            Test::Text(Subject::Cgroup, wanted) => {
                any(&|record| texts.cgroup(record).is_some_and(|path| wanted.is_in(&path)))
            }
        }
    }
}

fn is_anywhere(wanted: &Match, record: &Record<'_>, texts: &dyn Texts) -> bool {
    let is_pid = match wanted {
        Match::Part(text) => record.ac_pid().is_some_and(|pid| is_number(text, pid)),
        Match::Whole(_) | Match::Pattern(_) => false,
    };
    is_pid
        || record.ac_comm().is_some_and(|name| wanted.is_in(name))
        || command(record, texts).is_some_and(|command| wanted.is_in(&command))
}

fn is_user(wanted: &Match, record: &Record<'_>, texts: &dyn Texts) -> bool {
    let Some(uid) = record.ac_uid() else { return false };
    let is_id = matches!(wanted, Match::Whole(text) if is_number(text, uid));
    is_id || texts.user(uid).is_some_and(|name| wanted.is_in(&name))
}

fn is_number(text: &[u8], number: u32) -> bool {
    str::from_utf8(text).is_ok_and(|text| text.parse() == Ok(number))
}

/// The command line of a record's process, as it is shown: with spaces between the arguments.
fn command(record: &Record<'_>, texts: &dyn Texts) -> Option<Vec<u8>> {
    let arguments = texts.arguments(record)?;
    let arguments = arguments.strip_suffix(b"\0").unwrap_or(&arguments);
    Some(arguments.iter().map(|&byte| if byte == 0 { b' ' } else { byte }).collect())
}

/// A condition, the texts that it goes by, and the rows of one frame that it was asked about.
///
/// A frame asks for each row several times: to count, sum and sort.
#[derive(Clone, Debug)]
pub struct Conditions {
    condition: Arc<Condition>,
    texts: Arc<dyn Texts>,
    /// By the addresses of records, which do not move within a frame.
    known: Arc<Mutex<HashMap<usize, bool>>>,
}

impl Conditions {
    /// A condition for the rows of one frame.
    pub fn new(condition: Arc<Condition>, texts: Arc<dyn Texts>) -> Conditions {
        Conditions { condition, texts, known: Arc::default() }
    }

    /// The condition.
    pub fn condition(&self) -> &Condition {
        &self.condition
    }

    /// How many per cent of the rows' texts are known; None for all of them.
    pub fn progress(&self) -> Option<u8> {
        self.texts.progress()
    }

    /// Whether a row meets the condition; `record` is its first.
    pub(super) fn hold(&self, record: &Record<'_>, row: &dyn FilteredRow) -> bool {
        let address = record.bytes().as_ptr().addr();
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&holds) = known().get(&address) {
            return holds;
        }
        let holds = self.condition.holds(row, &*self.texts);
        known().insert(address, holds);
        holds
    }
}
