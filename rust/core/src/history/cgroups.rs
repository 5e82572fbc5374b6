//! The readings of cgroups of a history.

use std::collections::VecDeque;
use std::sync::Arc;

use super::frame::{Packed, Packer, Unpacker};
use crate::cgroup_readings::{CgroupReadings, CgroupsAt};

/// See the module.
#[derive(Default)]
pub(super) struct KeptReadings {
    /// CLOCK_BOOTTIME of each, and its byte form.
    packed: VecDeque<(u64, Arc<Packed>)>,
    bytes: usize,
}

/// The last two readings at a frame, which are unpacked where they are asked for.
#[derive(Clone)]
pub struct KeptCgroups {
    before: Option<Arc<Packed>>,
    now: Arc<Packed>,
}

impl KeptCgroups {
    /// The readings; None if they cannot be read.
    pub fn unpacked(&self) -> Option<CgroupsAt> {
        let mut unpacker = Unpacker::new();
        let mut unpack = |packed: &Packed| {
            CgroupReadings::decode(&packed.unpack(&mut unpacker).ok()?).map(Arc::new)
        };
        let before = self.before.as_deref().and_then(&mut unpack);
        Some(CgroupsAt { before, now: unpack(&self.now)? })
    }
}

impl KeptReadings {
    fn bytes_of(packed: &Packed) -> usize {
        size_of::<(u64, Arc<Packed>)>() + size_of::<Packed>() + packed.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(&mut self, readings: &CgroupReadings) {
        let packed = Packer::new().pack(readings.encode());
        self.bytes += KeptReadings::bytes_of(&packed);
        self.packed.push_back((readings.time_ns, Arc::new(packed)));
    }

    /// Forgets what no frame since `oldest_ns` needs: the last two readings before are.
    pub(super) fn forget_before(&mut self, oldest_ns: u64) {
        while self.packed.get(2).is_some_and(|&(time_ns, _)| time_ns <= oldest_ns) {
            let dropped = self.packed.pop_front();
            self.bytes -= dropped.map_or(0, |(_, packed)| KeptReadings::bytes_of(&packed));
        }
    }

    /// The last two readings at a time.
    pub(super) fn at(&self, time_ns: u64) -> Option<KeptCgroups> {
        let after = self.packed.partition_point(|&(read_ns, _)| read_ns <= time_ns);
        let (_, now) = self.packed.get(after.checked_sub(1)?)?;
        let before = after.checked_sub(2).and_then(|before| self.packed.get(before));
        Some(KeptCgroups { before: before.map(|(_, before)| before.clone()), now: now.clone() })
    }
}
