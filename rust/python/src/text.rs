//! Text that a terminal can show.

use precise_top_screen::text;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// Return `text` with everything visible that could control a terminal.
///
/// Control characters become their pictures (U+2400 and so on), other invisible characters and
/// those that change direction become U+FFFD.
#[pyfunction]
pub(crate) fn safe(text: &Bound<'_, PyString>) -> PyResult<String> {
    if let Ok(text) = text.to_cow() {
        return Ok(text::safe(&text).into_owned());
    }
    // Python has lone surrogates for bytes of file names that are not UTF-8.
    let units = text.call_method1("encode", ("utf-32-le", "surrogatepass"))?;
    let units: Vec<u8> = units.extract()?;
    let (units, _) = units.as_chunks::<4>();
    let characters = units.iter().map(|&unit| char::from_u32(u32::from_le_bytes(unit)));
    let text: String = characters.map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    Ok(text::safe(&text).into_owned())
}

/// Return the number of terminal cells that `safe(text)` takes.
#[pyfunction]
pub(crate) fn width(text: &Bound<'_, PyString>) -> PyResult<usize> {
    Ok(text::width(&safe(text)?))
}

fn shown(value: Option<f64>, push: fn(&mut String, f64)) -> String {
    let mut line = String::new();
    match value {
        Some(value) => push(&mut line, value),
        None => line.push_str(text::UNKNOWN),
    }
    line
}

/// Return a share as text, in per cent; "-" for None.
#[pyfunction]
pub(crate) fn percent(value: Option<f64>) -> String {
    shown(value, text::push_percent)
}

/// Return bytes, or bytes a second, with a binary unit; "-" for None.
#[pyfunction]
pub(crate) fn bytes_rate(value: Option<f64>) -> String {
    shown(value, text::push_bytes_rate)
}
