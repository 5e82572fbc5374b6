//! The byte form of a snapshot: what is pickled, sent and recorded.
//!
//! Design decisions
//!
//! * The records are stored unchanged, at an offset that is a multiple of 64,
//!   so that reading one back copies nothing.
//! * The header is a run of sections with a kind and a length; a reader passes over
//!   the kinds it does not know.
//! * Numbers are in the writer's byte order, as the byte-order mark says.
//!
//! The byte tables are in docs/dump-format.md.

mod machine;

use std::ops::Range;

use crate::error::{ErrorKind, ParseError};
use crate::field_set::FieldSet;
use crate::fields::Field;
use crate::header::{CpuClocks, CpuTimes, FieldStatus, Flags, Header, Instant, SourceKind, System};
use crate::layout::Layout;
use crate::snapshot::Snapshot;

/// The first bytes of every snapshot.
pub const MAGIC: [u8; 8] = *b"TSKSNAP\n";
/// The format's version.
pub const FORMAT_VERSION: u16 = 1;

/// Bytes before the first section.
pub(crate) const PREAMBLE: usize = 48;
/// The largest header. One of 8,192 CPUs, the most that Linux has, takes 1 MiB.
pub(crate) const LARGEST_HEADER: usize = 4 << 20;

const BYTE_ORDER_MARK: u16 = 0xfeff;
const SECTION_HEADER: usize = 8;
const RECORD_ALIGNMENT: usize = 64;

mod section {
    pub(super) const CLOCKS: u16 = 1;
    pub(super) const HOST: u16 = 2;
    pub(super) const HOST_NAME: u16 = 3;
    pub(super) const RELEASE: u16 = 4;
    pub(super) const STATUS: u16 = 5;
    pub(super) const MASKS: u16 = 6;
    pub(super) const CPU_TIMES: u16 = 7;
    pub(super) const CPU_CLOCKS: u16 = 8;
    pub(super) const SYSTEM: u16 = 9;
    pub(super) const COUNTS: u16 = 10;
    pub(super) const TASK_ID_SPACE: u16 = 11;
    pub(super) const PRESSURE: u16 = 12;
    pub(super) const MEMORY: u16 = 13;
    pub(super) const DISKS: u16 = 14;
    pub(super) const NETWORKS: u16 = 15;
    pub(super) const CGROUP: u16 = 16;
    pub(super) const ALL_READ: u16 = 17;
}

/// Whether `bytes` begin as a snapshot does.
pub fn is_snapshot(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// The byte form of a snapshot.
pub fn encode<B: AsRef<[u8]>>(snapshot: &Snapshot<B>) -> Vec<u8> {
    let mut out = encode_head(snapshot.header(), snapshot.layout(), snapshot.len());
    out.reserve_exact(snapshot.record_bytes().len() + snapshot.mask_indices().len());
    out.extend_from_slice(snapshot.record_bytes());
    out.extend_from_slice(snapshot.mask_indices());
    out
}

/// What the byte form of a snapshot of so many records has before them.
pub(crate) fn encode_head(header: &Header, layout: &Layout, records: usize) -> Vec<u8> {
    let sections = encode_sections(header);
    let records_at = (PREAMBLE + sections.len()).next_multiple_of(RECORD_ALIGNMENT);
    let indices = if header.masks.len() == 1 { 0 } else { records };
    let total = records_at + records * layout.record_size() + indices;
    let mut out = Writer(Vec::with_capacity(records_at));
    out.bytes(&MAGIC);
    out.u16(BYTE_ORDER_MARK);
    out.u16(FORMAT_VERSION);
    // A layout's record size fits in 16 bits, a snapshot's count in 32.
    out.u32(layout.record_size() as u32);
    out.u64(records as u64);
    // Records keep the byte order they came in; the version is in it as well.
    let version = layout.version();
    out.u16(if layout.is_swapped() { version.swap_bytes() } else { version });
    out.u16(header.source as u16);
    out.u32(header.flags.0);
    out.u64(records_at as u64);
    out.u64(total as u64);
    out.bytes(&sections);
    out.0.resize(records_at, 0);
    out.0
}

/// What a byte form says before its records.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) header: Header,
    pub(crate) layout: Layout,
    pub(crate) records: Range<usize>,
    pub(crate) mask_indices: Range<usize>,
}

/// The snapshot that `bytes` begin with, on the same memory.
pub fn decode<B: AsRef<[u8]>>(bytes: B) -> Result<Snapshot<B>, ParseError> {
    let length = bytes.as_ref().len();
    let Head { header, layout, records, mask_indices } = decode_head(bytes.as_ref(), length)?;
    Snapshot::new(header, layout, bytes, records, mask_indices)
}

/// The head of a byte form of up to `length` bytes. `all` may end at its records.
pub(crate) fn decode_head(all: &[u8], length: usize) -> Result<Head, ParseError> {
    if !is_snapshot(all) {
        return Err(ParseError::new(ErrorKind::BadMagic, 0));
    }
    let mut input = Reader { bytes: all, at: MAGIC.len(), base: 0, swapped: false };
    input.swapped = match input.u16()? {
        BYTE_ORDER_MARK => false,
        mark if mark.swap_bytes() == BYTE_ORDER_MARK => true,
        _ => return Err(ParseError::new(ErrorKind::BadValue, MAGIC.len())),
    };
    if input.u16()? > FORMAT_VERSION {
        return Err(ParseError::new(ErrorKind::NewerFormat, 10));
    }
    let record_size = input.u32()? as usize;
    let count = input.u64()?;
    let stored_version = input.u16()?;
    let source =
        SourceKind::from_number(input.u16()?).ok_or(ParseError::new(ErrorKind::BadValue, 26))?;
    let flags = Flags(input.u32()?);
    let records_at = input.usize()?;
    let total = input.usize()?;
    if total > length {
        return Err(ParseError::new(ErrorKind::Truncated, length));
    }
    if records_at < PREAMBLE || records_at > total.min(LARGEST_HEADER) {
        return Err(ParseError::new(ErrorKind::BadLength, 32));
    }
    let records_end = usize::try_from(count)
        .ok()
        .and_then(|count| count.checked_mul(record_size))
        .and_then(|length| length.checked_add(records_at))
        .filter(|&end| end <= total)
        .ok_or(ParseError::new(ErrorKind::BadCount, 16))?;
    let (version, records_swapped) = record_order(stored_version, input.swapped)
        .ok_or(ParseError::new(ErrorKind::BadVersion, 24))?;
    let layout = match all.get(records_at..records_at + record_size).filter(|_| count > 0) {
        Some(first) => Layout::of_record(version, first, records_swapped),
        None => Layout::new(version, record_size, records_swapped),
    };
    let layout = layout.map_err(|error| error.shifted(24))?;
    let Some(sections) = all.get(PREAMBLE..records_at) else {
        return Err(ParseError::new(ErrorKind::Truncated, all.len()));
    };
    let mut header = Header::new(source, layout.fields());
    header.flags = flags;
    let swapped = input.swapped;
    decode_sections(&mut header, Reader { bytes: sections, at: 0, base: PREAMBLE, swapped })?;
    if u64::from(header.exited) > count {
        return Err(ParseError::new(ErrorKind::BadCount, 16));
    }
    Ok(Head { header, layout, records: records_at..records_end, mask_indices: records_end..total })
}

/// The record version and whether records are swapped for this machine, of the
/// number stored by a writer of this or (`swapped`) the other byte order.
fn record_order(stored: u16, swapped: bool) -> Option<(u16, bool)> {
    let plausible =
        |version: u16| (1..=crate::layout::LARGEST_VERSION).contains(&(version & 0x7fff));
    if plausible(stored) {
        Some((stored, swapped))
    } else {
        plausible(stored.swap_bytes()).then_some((stored.swap_bytes(), !swapped))
    }
}

/// Returns the offset of the records in a snapshot's byte form: the length of its header.
pub fn header_length(bytes: &[u8]) -> Option<usize> {
    word(bytes, 32)
}

/// The number of records of a snapshot's byte form, and the size of each.
pub(crate) fn records(bytes: &[u8]) -> Option<(usize, usize)> {
    let size = u32::from_ne_bytes(*bytes.get(12..)?.first_chunk()?);
    let size = if is_swapped(bytes) { size.swap_bytes() } else { size };
    Some((word(bytes, 16)?, usize::try_from(size).ok()?))
}

/// The length of the snapshot's byte form that `bytes` begin with.
pub fn total_length(bytes: &[u8]) -> Option<usize> {
    word(bytes, 40)
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let word = u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?);
    usize::try_from(if is_swapped(bytes) { word.swap_bytes() } else { word }).ok()
}

/// Whether a snapshot's byte form is in the other byte order than this machine's.
pub fn is_swapped(bytes: &[u8]) -> bool {
    bytes.get(8..10) != Some(&BYTE_ORDER_MARK.to_ne_bytes())
}

fn encode_sections(header: &Header) -> Vec<u8> {
    let mut out = Writer(Vec::new());
    out.section(section::CLOCKS, |out| {
        for instant in [header.begin, header.end] {
            out.u64(instant.monotonic_ns);
            out.u64(instant.boottime_ns);
            out.u64(instant.realtime_ns);
        }
        out.u64(u64::from(header.sched_clock_ns.is_some()));
        out.u64(header.sched_clock_ns.unwrap_or(0));
    });
    out.section(section::HOST, |out| {
        out.bytes(&header.boot_id);
        out.u32(header.cpus_online);
        out.u32(header.page_size);
        out.u64(header.cpu_times_step_ns);
    });
    out.section(section::HOST_NAME, |out| out.bytes(header.host.as_bytes()));
    out.section(section::RELEASE, |out| out.bytes(header.release.as_bytes()));
    out.section(section::STATUS, |out| out.bytes(&header.status.map(|status| status as u8)));
    out.section(section::MASKS, |out| {
        for mask in &header.masks {
            out.u64(mask.bits() as u64);
            out.u64((mask.bits() >> 64) as u64);
        }
    });
    out.section(section::CPU_TIMES, |out| {
        for times in &header.cpu_times {
            out.u64(u64::from(times.cpu));
            times.as_array().into_iter().for_each(|time| out.u64(time));
        }
    });
    out.section(section::CPU_CLOCKS, |out| {
        for clocks in &header.cpu_clocks {
            out.u64(u64::from(clocks.cpu));
            out.u64(clocks.clock_ns);
            out.u64(clocks.clock_task_ns);
            out.u64(clocks.idle_ns);
            out.u64(clocks.steal_ns);
        }
    });
    if let Some(system) = &header.system {
        out.section(section::SYSTEM, |out| {
            system.load_centi.into_iter().for_each(|load| out.u64(u64::from(load)));
            out.u64(system.mem_total_kb);
            out.u64(system.mem_free_kb);
            out.u64(system.mem_available_kb);
            out.u64(system.buffers_kb);
            out.u64(system.cached_kb);
            out.u64(system.swap_total_kb);
            out.u64(system.swap_free_kb);
        });
    }
    out.section(section::COUNTS, |out| encode_counts(header, out));
    if let Some(space) = header.task_id_space {
        out.section(section::TASK_ID_SPACE, |out| out.u64(space));
    }
    machine::encode(&header.machine, &mut out);
    if let Some(all_read_ns) = header.all_read_ns {
        out.section(section::ALL_READ, |out| out.u64(all_read_ns));
    }
    out.0
}

fn encode_counts(header: &Header, out: &mut Writer) {
    out.u64(u64::from(header.merged));
    out.u64(u64::from(header.missed));
    out.u64(header.outside_ns);
    out.u64(header.own_cpu_ns);
    out.u64(u64::from(header.syscalls));
    out.u64(u64::from(header.exited));
    out.u64(header.exits_lost);
    out.u64(header.overflow_ns);
    out.u64(u64::from(header.unchanged));
    out.u64(header.hooks_ns);
}

fn decode_sections(header: &mut Header, mut input: Reader<'_>) -> Result<(), ParseError> {
    while input.left() >= SECTION_HEADER {
        let start = input.at;
        let kind = input.u16()?;
        input.u16()?;
        let length = input.u32()? as usize;
        if kind == 0 {
            break;
        }
        let Some(payload) = input.bytes.get(input.at..input.at.saturating_add(length)) else {
            return Err(ParseError::new(ErrorKind::BadLength, input.base + start));
        };
        let base = input.base + input.at;
        let inner = Reader { bytes: payload, at: 0, base, swapped: input.swapped };
        decode_section(header, kind, inner)?;
        input.at = (input.at + length.next_multiple_of(8)).min(input.bytes.len());
    }
    Ok(())
}

fn decode_section(header: &mut Header, kind: u16, mut input: Reader<'_>) -> Result<(), ParseError> {
    match kind {
        section::CLOCKS => {
            header.begin = input.instant()?;
            header.end = input.instant()?;
            let known = input.u64()? != 0;
            let clock = input.u64()?;
            header.sched_clock_ns = known.then_some(clock);
        }
        section::HOST => {
            header.boot_id = input.array()?;
            header.cpus_online = input.u32()?;
            header.page_size = input.u32()?;
            header.cpu_times_step_ns = input.u64()?;
        }
        section::HOST_NAME => header.host = input.text(),
        section::RELEASE => header.release = input.text(),
        section::STATUS => {
            for (index, &number) in input.bytes.iter().take(Field::COUNT).enumerate() {
                header.status[index] = FieldStatus::from_number(number)
                    .ok_or(ParseError::new(ErrorKind::BadValue, input.base + index))?;
            }
        }
        section::MASKS => {
            header.masks.clear();
            while input.left() > 0 {
                let bits = u128::from(input.u64()?) | u128::from(input.u64()?) << 64;
                header.masks.push(FieldSet::from_bits(bits));
            }
        }
        section::CPU_TIMES => {
            while input.left() > 0 {
                let cpu = input.small()?;
                let mut times = [0; 10];
                for time in &mut times {
                    *time = input.u64()?;
                }
                header.cpu_times.push(CpuTimes::from_array(cpu, times));
            }
        }
        section::CPU_CLOCKS => {
            while input.left() > 0 {
                header.cpu_clocks.push(CpuClocks {
                    cpu: input.small()?,
                    clock_ns: input.u64()?,
                    clock_task_ns: input.u64()?,
                    idle_ns: input.u64()?,
                    steal_ns: input.u64()?,
                });
            }
        }
        section::SYSTEM => header.system = Some(input.system()?),
        section::COUNTS => decode_counts(header, &mut input)?,
        section::TASK_ID_SPACE => header.task_id_space = Some(input.u64()?),
        section::ALL_READ => header.all_read_ns = Some(input.u64()?),
        _ => machine::decode(header, kind, &mut input)?,
    }
    Ok(())
}

fn decode_counts(header: &mut Header, input: &mut Reader<'_>) -> Result<(), ParseError> {
    header.merged = input.small()?;
    header.missed = input.small()?;
    header.outside_ns = input.u64()?;
    header.own_cpu_ns = input.u64()?;
    header.syscalls = input.small()?;
    header.exited = input.small()?;
    header.exits_lost = input.u64()?;
    header.overflow_ns = input.u64()?;
    header.unchanged = input.small()?;
    header.hooks_ns = input.u64()?;
    Ok(())
}

struct Writer(Vec<u8>);

impl Writer {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn u16(&mut self, number: u16) {
        self.bytes(&number.to_ne_bytes());
    }

    fn u32(&mut self, number: u32) {
        self.bytes(&number.to_ne_bytes());
    }

    fn u64(&mut self, number: u64) {
        self.bytes(&number.to_ne_bytes());
    }

    /// A section, padded to a multiple of eight bytes.
    fn section(&mut self, kind: u16, write: impl FnOnce(&mut Writer)) {
        self.u16(kind);
        self.u16(0);
        let length_at = self.0.len();
        self.u32(0);
        let start = self.0.len();
        write(self);
        let length = (self.0.len() - start) as u32;
        self.0[length_at..start].copy_from_slice(&length.to_ne_bytes());
        self.0.resize(start + (self.0.len() - start).next_multiple_of(8), 0);
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Offset of `bytes` in the input, for errors.
    base: usize,
    swapped: bool,
}

impl Reader<'_> {
    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ParseError> {
        let truncated = ParseError::new(ErrorKind::Truncated, self.base + self.at);
        let bytes = self.bytes.get(self.at..self.at + N).ok_or(truncated)?;
        self.at += N;
        bytes.try_into().map_err(|_| truncated)
    }

    fn u16(&mut self) -> Result<u16, ParseError> {
        let number = u16::from_ne_bytes(self.array()?);
        Ok(if self.swapped { number.swap_bytes() } else { number })
    }

    fn u32(&mut self) -> Result<u32, ParseError> {
        let number = u32::from_ne_bytes(self.array()?);
        Ok(if self.swapped { number.swap_bytes() } else { number })
    }

    fn u64(&mut self) -> Result<u64, ParseError> {
        let number = u64::from_ne_bytes(self.array()?);
        Ok(if self.swapped { number.swap_bytes() } else { number })
    }

    fn usize(&mut self) -> Result<usize, ParseError> {
        let at = self.base + self.at;
        usize::try_from(self.u64()?).map_err(|_| ParseError::new(ErrorKind::BadLength, at))
    }

    /// A number stored in eight bytes that has to fit in four.
    fn small(&mut self) -> Result<u32, ParseError> {
        let at = self.base + self.at;
        u32::try_from(self.u64()?).map_err(|_| ParseError::new(ErrorKind::BadValue, at))
    }

    fn instant(&mut self) -> Result<Instant, ParseError> {
        Ok(Instant {
            monotonic_ns: self.u64()?,
            boottime_ns: self.u64()?,
            realtime_ns: self.u64()?,
        })
    }

    fn system(&mut self) -> Result<System, ParseError> {
        Ok(System {
            load_centi: [self.small()?, self.small()?, self.small()?],
            mem_total_kb: self.u64()?,
            mem_free_kb: self.u64()?,
            mem_available_kb: self.u64()?,
            buffers_kb: self.u64()?,
            cached_kb: self.u64()?,
            swap_total_kb: self.u64()?,
            swap_free_kb: self.u64()?,
        })
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(self.bytes).into_owned()
    }
}
