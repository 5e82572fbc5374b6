//! The sections of the machine's meters. A value of all ones is unknown. Sections may grow at
//! their end: what a section lacks is unknown.

use super::{Reader, Writer, section};
use crate::error::ParseError;
use crate::header::Header;
use crate::machine::{
    CgroupLimits, Disk, DiskCounts, Machine, MemoryDetails, Network, NetworkCounts, Pressure, Stall,
};

const UNKNOWN: u64 = u64::MAX;
/// As long as the kernel's names (DISK_NAME_LEN, IFNAMSIZ).
const DISK_NAME: usize = 32;
const NETWORK_NAME: usize = 16;

/// Writes what is known.
pub(super) fn encode(machine: &Machine, out: &mut Writer) {
    let pressures = [machine.cpu_pressure, machine.io_pressure, machine.memory_pressure];
    if pressures.iter().any(Option::is_some) {
        out.section(section::PRESSURE, |out| {
            for pressure in pressures {
                put_stall(out, pressure.map(|pressure| pressure.some));
                put_stall(out, pressure.and_then(|pressure| pressure.full));
            }
        });
    }
    if let Some(memory) = machine.memory {
        out.section(section::MEMORY, |out| put_values(out, &memory.as_array()));
    }
    if let Some(disks) = &machine.disks {
        out.section(section::DISKS, |out| {
            for disk in disks {
                put_name::<DISK_NAME>(out, &disk.name);
                disk.counts.as_array().into_iter().for_each(|count| out.u64(count));
            }
        });
    }
    if let Some(networks) = &machine.networks {
        out.section(section::NETWORKS, |out| {
            for network in networks {
                put_name::<NETWORK_NAME>(out, &network.name);
                network.counts.as_array().into_iter().for_each(|count| out.u64(count));
            }
        });
    }
    if let Some(cgroup) = machine.cgroup {
        out.section(section::CGROUP, |out| put_values(out, &cgroup.as_array()));
    }
}

fn put_values(out: &mut Writer, values: &[Option<u64>]) {
    values.iter().for_each(|value| out.u64(value.unwrap_or(UNKNOWN)));
}

fn put_stall(out: &mut Writer, stall: Option<Stall>) {
    out.u64(stall.map_or(UNKNOWN, |stall| u64::from(stall.avg10_centi)));
    out.u64(stall.map_or(UNKNOWN, |stall| stall.total_us));
}

fn put_name<const SIZE: usize>(out: &mut Writer, name: &str) {
    let mut field = [0; SIZE];
    let length = name.len().min(SIZE);
    field[..length].copy_from_slice(&name.as_bytes()[..length]);
    out.bytes(&field);
}

/// Reads a section of these kinds.
pub(super) fn decode(
    header: &mut Header,
    kind: u16,
    input: &mut Reader<'_>,
) -> Result<(), ParseError> {
    let machine = &mut header.machine;
    match kind {
        section::PRESSURE => {
            machine.cpu_pressure = pressure(input)?;
            machine.io_pressure = pressure(input)?;
            machine.memory_pressure = pressure(input)?;
        }
        section::MEMORY => machine.memory = Some(MemoryDetails::from_array(values(input)?)),
        section::DISKS => machine.disks = Some(disks(input)?),
        section::NETWORKS => machine.networks = Some(networks(input)?),
        section::CGROUP => machine.cgroup = Some(CgroupLimits::from_array(values(input)?)),
        _ => {}
    }
    Ok(())
}

/// The next value; None where it is unknown or the section ends.
fn value(input: &mut Reader<'_>) -> Result<Option<u64>, ParseError> {
    if input.left() == 0 {
        return Ok(None);
    }
    Ok(Some(input.u64()?).filter(|&value| value != UNKNOWN))
}

fn values<const N: usize>(input: &mut Reader<'_>) -> Result<[Option<u64>; N], ParseError> {
    let mut values = [None; N];
    for place in &mut values {
        *place = value(input)?;
    }
    Ok(values)
}

fn pressure(input: &mut Reader<'_>) -> Result<Option<Pressure>, ParseError> {
    let some = stall(input)?;
    let full = stall(input)?;
    Ok(some.map(|some| Pressure { some, full }))
}

fn stall(input: &mut Reader<'_>) -> Result<Option<Stall>, ParseError> {
    let [avg10, total] = values(input)?;
    let avg10 = avg10.and_then(|avg10| u32::try_from(avg10).ok());
    Ok(avg10.zip(total).map(|(avg10_centi, total_us)| Stall { avg10_centi, total_us }))
}

fn name<const SIZE: usize>(input: &mut Reader<'_>) -> Result<String, ParseError> {
    let field: [u8; SIZE] = input.array()?;
    let length = field.iter().position(|&byte| byte == 0).unwrap_or(SIZE);
    Ok(String::from_utf8_lossy(&field[..length]).into_owned())
}

fn counts<const N: usize>(input: &mut Reader<'_>) -> Result<[u64; N], ParseError> {
    let mut counts = [0; N];
    for count in &mut counts {
        *count = input.u64()?;
    }
    Ok(counts)
}

fn disks(input: &mut Reader<'_>) -> Result<Vec<Disk>, ParseError> {
    let mut disks = Vec::new();
    while input.left() > 0 {
        let name = name::<DISK_NAME>(input)?;
        disks.push(Disk { name, counts: DiskCounts::from_array(counts(input)?) });
    }
    Ok(disks)
}

fn networks(input: &mut Reader<'_>) -> Result<Vec<Network>, ParseError> {
    let mut networks = Vec::new();
    while input.left() > 0 {
        let name = name::<NETWORK_NAME>(input)?;
        networks.push(Network { name, counts: NetworkCounts::from_array(counts(input)?) });
    }
    Ok(networks)
}
