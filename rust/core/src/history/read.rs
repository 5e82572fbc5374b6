//! Reads the frames of a run, one after the other.

use std::collections::HashMap;
use std::sync::Arc;

use super::Kept;
use super::frame::{Frame, Unpacker, has_whole_base, take_pids};
use super::run::Run;
use crate::dump::ChainReader;
use crate::error::{ErrorKind, ParseError};
use crate::field_set::FieldSet;
use crate::header::{Flags, Header};
use crate::identity::{HashTask, TaskKey};
use crate::interval::{Interval, LastValues};
use crate::snapshot::{SharedBytes, Snapshot};

type Snap = Snapshot<SharedBytes>;

/// A place in a run.
pub(super) struct Cursor {
    run: u64,
    /// The index of the next frame.
    next: usize,
    chain: ChainReader,
    unpacker: Unpacker,
    state: State,
    /// The state at the begin of the run, for steps back. It shares what did not change since.
    start: State,
    last: Option<Kept>,
}

/// What the next frame is a delta from.
#[derive(Clone)]
enum State {
    /// A snapshot of all tasks.
    Whole(Arc<Snap>),
    /// The last values of all tasks.
    Values(Box<Values>),
}

#[derive(Clone)]
struct Values {
    last: Arc<LastValues>,
    /// The header of the last snapshot.
    header: Header,
    /// The last task with each pid.
    by_pid: HashMap<u32, TaskKey, HashTask>,
}

/// The two snapshots of a frame.
pub(super) struct Ends {
    pub(super) prev: Arc<Snap>,
    pub(super) cur: Arc<Snap>,
}

impl Cursor {
    /// A cursor at the begin of a run.
    pub(super) fn new(run: &Run) -> Result<Cursor, ParseError> {
        let mut unpacker = Unpacker::new();
        let is_partial = run.frames.first().is_some_and(|frame| frame.is_partial);
        let state = if is_partial {
            State::Values(Box::new(Values::of(run.key.values(&mut unpacker)?, run.header.clone())))
        } else {
            State::Whole(Arc::new(run.key.snapshot(&mut unpacker)?))
        };
        Ok(Cursor {
            run: run.number,
            next: 0,
            chain: ChainReader::new(&run.key.layout),
            unpacker,
            start: state.clone(),
            state,
            last: None,
        })
    }

    /// Goes back to the begin of the run.
    fn restart(&mut self, run: &Run) {
        self.next = 0;
        self.chain = ChainReader::new(&run.key.layout);
        self.state = self.start.clone();
        self.last = None;
    }

    /// Goes on from the end of `before` to the next run, which begins there: the values of all
    /// tasks are those of its key. None where it is not there, or these are not known.
    fn entered(mut self, before: Option<&Run>, run: &Run) -> Option<Cursor> {
        let is_at_end =
            before.is_some_and(|it| (self.run, self.next) == (it.number, it.frames.len()));
        match &mut self.state {
            State::Values(values) if is_at_end => {
                // That of a merged frame counts fewer rows.
                values.header.clone_from(&run.header);
                self.run = run.number;
                self.start = self.state.clone();
                self.restart(run);
                Some(self)
            }
            _ => None,
        }
    }

    /// The frame at an index of a run. `cursor` is that of the last read: the frames after it in
    /// its run, and in the one after `before`, need not be read again.
    pub(super) fn read(
        cursor: &mut Option<Cursor>,
        before: Option<&Run>,
        run: &Run,
        index: usize,
    ) -> Result<Kept, ParseError> {
        // An error leaves no cursor: its state may be that of no frame.
        let mut at = match cursor.take() {
            Some(at) if at.run == run.number && at.next <= index => at,
            Some(at) if at.run == run.number && at.next == index + 1 && at.last.is_some() => at,
            Some(mut at) if at.run == run.number => {
                at.restart(run);
                at
            }
            Some(at) => match at.entered(before, run) {
                Some(at) => at,
                None => Cursor::new(run)?,
            },
            None => Cursor::new(run)?,
        };
        while at.next <= index {
            at.last = None;
            if at.next < index {
                at.pass(&run.frames[at.next])?;
            } else {
                let ends = at.step(&run.frames[at.next])?;
                at.last = Some(at.kept(ends));
            }
        }
        let kept = at.last.clone().ok_or(ParseError::new(ErrorKind::BadCount, index))?;
        *cursor = Some(at);
        Ok(kept)
    }

    /// The header of the snapshot that the next frame is a delta from.
    pub(super) fn header(&self) -> &Header {
        match &self.state {
            State::Whole(whole) => whole.header(),
            State::Values(values) => &values.header,
        }
    }

    fn kept(&self, ends: Ends) -> Kept {
        let unchanged = match &self.state {
            State::Values(values) => Some(values.last.unchanged()),
            State::Whole(_) => None,
        };
        let interval = Arc::new(Interval::between(ends.prev, ends.cur));
        Kept { interval, unchanged, cgroups: None }
    }

    /// Reads the next frame.
    pub(super) fn step(&mut self, frame: &Frame) -> Result<Ends, ParseError> {
        self.go_on(frame, |last, cur| {
            let whole = has_whole_base(cur.header());
            if whole { last.all() } else { last.values_before(cur) }
        })
    }

    /// Passes over the next frame: what its tasks had before is not needed.
    fn pass(&mut self, frame: &Frame) -> Result<(), ParseError> {
        self.go_on(frame, |_, cur| Ok(cur.clone())).map(|_| ())
    }

    /// Goes to the next frame; `before` makes the base of its later snapshot.
    fn go_on(
        &mut self,
        frame: &Frame,
        before: impl FnOnce(&LastValues, &Snap) -> Result<Snap, ParseError>,
    ) -> Result<Ends, ParseError> {
        let bytes = frame.packed.unpack(&mut self.unpacker)?;
        self.next += 1;
        if frame.is_partial
            && let State::Whole(whole) = &self.state
        {
            let threads = whole.header().threads();
            let last = LastValues::new(whole, threads, FieldSet::ALL);
            let header = whole.header().clone();
            self.state = State::Values(Box::new(Values::of(last, header)));
        }
        match &mut self.state {
            State::Values(values) => {
                let (cur, prev) =
                    values.step(&mut self.chain, frame.rows as usize, &bytes, before)?;
                let prev = Arc::new(prev);
                Ok(Ends { cur: Arc::new(cur.with_base(Arc::clone(&prev))), prev })
            }
            State::Whole(prev) => {
                let records = prev.record_bytes().to_vec();
                let base = (prev.header(), records, prev.mask_indices());
                let cur = Arc::new(self.chain.read(base, frame.rows as usize, &bytes)?);
                let prev = std::mem::replace(prev, Arc::clone(&cur));
                Ok(Ends { prev, cur })
            }
        }
    }
}

impl Values {
    fn of(last: LastValues, header: Header) -> Values {
        // A living task has the pid of a dead one.
        let by_pid = last.pids().collect();
        Values { header, last: Arc::new(last), by_pid }
    }

    /// Notes the pids of a snapshot's tasks. A living task has the pid of a dead one.
    fn note_pids(&mut self, snapshot: &Snap) {
        let living = 0..snapshot.living();
        let rows = (snapshot.living()..snapshot.len()).chain(living);
        for record in rows.filter_map(|row| snapshot.get(row)) {
            self.by_pid.insert(record.ac_pid().unwrap_or(0), TaskKey::of(&record));
        }
    }

    /// Reads a frame of the tasks that ran, and merges it as the source did. Returns its snapshot
    /// and what `before` makes of the state before.
    fn step(
        &mut self,
        chain: &mut ChainReader,
        rows: usize,
        bytes: &[u8],
        before: impl FnOnce(&LastValues, &Snap) -> Result<Snap, ParseError>,
    ) -> Result<(Snap, Snap), ParseError> {
        let (pids, begin) = take_pids(bytes)?;
        // The records before, and room for those of the frame.
        let mut records = Vec::with_capacity(2 * rows * self.last.layout().record_size());
        for pid in pids {
            let key = self.by_pid.get(&pid);
            let record = key.and_then(|key| self.last.last_record(key));
            records.extend_from_slice(record.ok_or(ParseError::new(ErrorKind::BadValue, begin))?);
        }
        // They all live, and have the first mask.
        self.header.exited = 0;
        let cur = chain.read((&self.header, records, &[]), rows, &bytes[begin..])?;
        let before = before(&self.last, &cur)?;
        if cur.header().flags.contains(Flags::WITHOUT_UNCHANGED) {
            Arc::make_mut(&mut self.last).merge(&cur);
        } else {
            let threads = cur.header().threads();
            self.last = Arc::new(LastValues::new(&cur, threads, FieldSet::ALL));
        }
        self.note_pids(&cur);
        self.header.clone_from(cur.header());
        Ok((cur, before))
    }
}
