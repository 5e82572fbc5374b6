//! The buffer protocol's format of a layout: a struct with every padding byte
//! explicit, which NumPy takes as a structured type at the same address.

use std::ffi::CString;
use std::fmt::Write;

use precise_top_core::{Field, FieldSet, Layout, Repr};

/// `T{…}` for records of `layout`; fields outside `filled` are padding.
pub(crate) fn buffer_format(layout: &Layout, filled: FieldSet) -> CString {
    let mut fields: Vec<(usize, Field)> =
        filled.iter().filter_map(|field| Some((layout.offset(field)?, field))).collect();
    fields.sort_unstable();
    let foreign = layout.is_swapped() != cfg!(target_endian = "big");
    let order = if foreign { '>' } else { '<' };
    let mut format = String::from("T{");
    let mut at = 0;
    for (offset, field) in fields {
        pad(&mut format, offset - at);
        let code = match field.info().repr {
            Repr::U8 => "B",
            Repr::I8 => "b",
            Repr::U16 => "H",
            Repr::U32 => "I",
            Repr::U64 => "Q",
            Repr::Timespec => &format!("q:tv_sec:{order}q:tv_nsec:"),
            Repr::Comm => "32s",
        };
        let (open, close) = if code.len() > 3 { ("T{", "}") } else { ("", "") };
        write!(format, "{open}{order}{code}{close}:{}:", field.name())
            .expect("a String takes any text");
        at = offset + field.info().repr.size();
    }
    pad(&mut format, layout.record_size() - at);
    format.push('}');
    CString::new(format).expect("field names hold no NUL")
}

fn pad(format: &mut String, bytes: usize) {
    if bytes > 0 {
        write!(format, "{bytes}x").expect("a String takes any text");
    }
}
