//! Sets of columns that changed together: a delta writes each set once, and rows refer to it by
//! its number.

use super::{Input, limits};

/// The sets that a run of deltas has defined since its full frame.
#[derive(Default)]
pub(super) struct ColumnSets {
    /// The columns of all sets, end to end.
    columns: Vec<u16>,
    /// End of each set in them.
    ends: Vec<u32>,
}

impl ColumnSets {
    /// The columns of a set, ascending.
    pub(super) fn get(&self, number: usize) -> Option<&[u16]> {
        let end = *self.ends.get(number)? as usize;
        let begin = number.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        self.columns.get(begin..end)
    }

    /// Reads the next set. Its columns are numbers up to `last`. None if the input is no set,
    /// or if the sets take more memory than the `stored` bytes of the run justify.
    pub(super) fn read(&mut self, input: &mut Input<'_>, last: u16, stored: usize) -> Option<()> {
        let length = input.length().filter(|&length| length <= usize::from(last) + 1)?;
        let memory = size_of_val(&*self.columns) + size_of_val(&*self.ends);
        if !limits::allows_sets(memory, stored) {
            return None;
        }
        let mut column = 0_u16;
        for index in 0..length {
            let gap = u16::try_from(input.varint()?).ok()?;
            column = column.checked_add(gap).filter(|&column| column <= last)?;
            if index > 0 && gap == 0 {
                return None;
            }
            self.columns.push(column);
        }
        self.ends.push(u32::try_from(self.columns.len()).ok()?);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_numbered_in_their_order() {
        let mut sets = ColumnSets::default();
        let bytes = [3, 0, 2, 1, 0, 1, 7];
        let mut input = Input::new(&bytes);
        for _ in 0..3 {
            sets.read(&mut input, 7, 0).expect("a set");
        }
        assert!(input.is_empty());
        let all = [0, 1, 2, 3].map(|number| sets.get(number));
        assert_eq!(all, [Some(&[0, 2, 3][..]), Some(&[]), Some(&[7]), None]);
    }

    #[test]
    fn what_is_no_set_is_refused() {
        for bytes in [&[][..], &[1], &[1, 8], &[2, 3, 0], &[9], &[2, 7, 1], &[2, 1, 0xff, 0xff, 3]]
        {
            let read = ColumnSets::default().read(&mut Input::new(bytes), 7, 0);
            assert_eq!(read, None, "{bytes:?}");
        }
    }

    #[test]
    fn sets_take_no_more_memory_than_the_file_justifies() {
        let (mut sets, mut read) = (ColumnSets::default(), 0_usize);
        while sets.read(&mut Input::new(&[0]), 7, 0).is_some() {
            read += 1;
            assert!(read * size_of::<u32>() <= 9 << 20);
        }
        assert!(sets.read(&mut Input::new(&[0]), 7, 16 << 20).is_some(), "stored bytes justify it");
    }
}
