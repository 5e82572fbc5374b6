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

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::Arc;

use memchr::memchr2_iter;
use regex::bytes::Regex;

use super::metric::Metric;
use crate::field_set::FieldSet;
use crate::fields::Field;
use crate::record::Record;
use crate::state;

/// A text that a record does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// It is known.
    Known(Arc<[u8]>),
    /// There is none.
    Missing,
    /// A later frame may know it.
    Later,
}

/// Texts that records do not have.
pub trait Texts: fmt::Debug + Send + Sync {
    /// The command line of a record's process, with spaces between the arguments.
    fn command(&self, record: &Record<'_>) -> Text;
    /// The name of a user.
    fn user(&self, uid: u32) -> Text;
    /// The path of the cgroup of a record's task.
    fn cgroup(&self, record: &Record<'_>) -> Text;
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
    /// Whether each text that has it has `other` as well.
    fn narrows(&self, other: &Match, negated: bool) -> bool {
        match (self, other) {
            (Match::Part(part), Match::Part(other)) if negated => contains(other, part),
            (Match::Part(part), Match::Part(other)) => contains(part, other),
            (Match::Whole(whole), Match::Whole(other)) => whole == other,
            (Match::Pattern(regex), Match::Pattern(other)) => regex.as_str() == other.as_str(),
            _ => false,
        }
    }

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
    let begins = (text.len() + 1).saturating_sub(part.len());
    // The first byte decides nearly always.
    memchr2_iter(upper, lower, &text[..begins])
        .any(|at| text[at..at + part.len()].eq_ignore_ascii_case(part))
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

    /// Whether a row meets it always, as long as its task does not run.
    pub(super) fn is_lasting(&self) -> bool {
        let grows = |metric| matches!(metric, Metric::Field(Field::ac_etime | Field::ac_tgetime));
        !self.metrics().any(grows)
    }

    /// Whether every row that meets it meets `other` as well; false where that is not plain.
    pub(super) fn narrows(&self, other: &Condition) -> bool {
        let ([own], [others]) = (&*self.alternatives, &*other.alternatives) else { return false };
        others.iter().all(|term| own.iter().any(|own| own.narrows(term)))
    }

    fn holds(&self, row: &dyn FilteredRow, texts: &Asked<'_>) -> bool {
        let holds = |term: &Term| term.test.holds(row, texts) != term.negated;
        self.alternatives.iter().any(|terms| terms.iter().all(holds))
    }
}

impl Term {
    fn narrows(&self, other: &Term) -> bool {
        if self.negated != other.negated {
            return false;
        }
        match (&self.test, &other.test) {
            (Test::Number(metric, comparison, number), Test::Number(m, c, n)) => {
                (metric, comparison, number) == (m, c, n)
            }
            (Test::State(letters), Test::State(other)) => letters == other,
            (Test::Text(subject, wanted), Test::Text(s, other)) => {
                subject == s && wanted.narrows(other, self.negated)
            }
            // A number finds a pid as well, a longer one another pid.
            (Test::Anywhere(Match::Part(part)), Test::Anywhere(Match::Part(other)))
                if part != other && part.iter().all(u8::is_ascii_digit) =>
            {
                false
            }
            (Test::Anywhere(wanted), Test::Anywhere(other)) => wanted.narrows(other, self.negated),
            _ => false,
        }
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

    fn holds(&self, row: &dyn FilteredRow, texts: &Asked<'_>) -> bool {
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
                any(&|record| texts.have(wanted, texts.command(record)))
            }
            Test::Text(Subject::User, wanted) => any(&|record| is_user(wanted, record, texts)),
            Test::Text(Subject::Cgroup, wanted) => {
                any(&|record| texts.have(wanted, texts.texts.cgroup(record)))
            }
        }
    }
}

impl Condition {
    /// Whether a row meets the condition.
    pub(super) fn is_met_by(&self, row: &dyn FilteredRow, texts: &dyn Texts) -> bool {
        self.holds(row, &Asked { texts, is_open: Cell::new(false), command: None })
    }

    /// Whether a row of one record meets the condition, and whether it does so in later frames
    /// too. `command` is its command line, once that is known.
    pub(super) fn is_met_by_one(
        &self,
        row: &dyn FilteredRow,
        texts: &dyn Texts,
        command: &RefCell<Option<Text>>,
    ) -> (bool, bool) {
        let texts = Asked { texts, is_open: Cell::new(false), command: Some(command) };
        let holds = self.holds(row, &texts);
        (holds, !texts.is_open.get() && self.is_lasting())
    }
}

/// The texts that one row is asked for.
struct Asked<'a> {
    texts: &'a dyn Texts,
    /// Whether a later frame may know more.
    is_open: Cell<bool>,
    /// The command line of the row's only record, once it is known.
    command: Option<&'a RefCell<Option<Text>>>,
}

impl Asked<'_> {
    fn command(&self, record: &Record<'_>) -> Text {
        let Some(command) = self.command else { return self.texts.command(record) };
        let known = &mut *command.borrow_mut();
        if matches!(known, None | Some(Text::Later)) {
            *known = Some(self.texts.command(record));
        }
        known.clone().unwrap_or(Text::Later)
    }

    fn have(&self, wanted: &Match, text: Text) -> bool {
        match text {
            Text::Known(text) => wanted.is_in(&text),
            Text::Missing => false,
            Text::Later => {
                self.is_open.set(true);
                false
            }
        }
    }
}

fn is_anywhere(wanted: &Match, record: &Record<'_>, texts: &Asked<'_>) -> bool {
    let is_pid = match wanted {
        Match::Part(text) => record.ac_pid().is_some_and(|pid| is_number(text, pid)),
        Match::Whole(_) | Match::Pattern(_) => false,
    };
    is_pid
        || record.ac_comm().is_some_and(|name| wanted.is_in(name))
        || texts.have(wanted, texts.command(record))
}

fn is_user(wanted: &Match, record: &Record<'_>, texts: &Asked<'_>) -> bool {
    let Some(uid) = record.ac_uid() else { return false };
    let is_id = matches!(wanted, Match::Whole(text) if is_number(text, uid));
    is_id || texts.have(wanted, texts.texts.user(uid))
}

fn is_number(text: &[u8], number: u32) -> bool {
    str::from_utf8(text).is_ok_and(|text| text.parse() == Ok(number))
}
