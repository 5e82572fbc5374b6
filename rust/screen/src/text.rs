//! Numbers and names as text.
//!
//! Design decisions
//!
//! * Names are untrusted: characters that could control a terminal are replaced by visible
//!   ones.
//! * Functions append to a line, so that a line needs one allocation.

use std::borrow::Cow;
use std::fmt::{Arguments, Write};

use unicode_general_category::{GeneralCategory, get_general_category};
use unicode_width::UnicodeWidthChar;

/// The text of an unknown value.
pub const UNKNOWN: &str = "-";

const BINARY_UNITS: [char; 6] = ['K', 'M', 'G', 'T', 'P', 'E'];

/// `text` with all characters that could control a terminal replaced: control characters by
/// their pictures (U+2400 …), others that are invisible or change the direction by U+FFFD.
pub fn safe(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(safe_character).collect())
}

fn safe_character(character: char) -> char {
    match character {
        ' ' => ' ',
        '\x7f' => '\u{2421}',
        '\0'..'\x20' => {
            char::from_u32(0x2400 + character as u32).unwrap_or(char::REPLACEMENT_CHARACTER)
        }
        _ if is_printable(character) => character,
        _ => char::REPLACEMENT_CHARACTER,
    }
}

/// Whether a character has a visible shape or combines with the one before it, and has no
/// other effect.
fn is_printable(character: char) -> bool {
    use GeneralCategory::{
        Control, EnclosingMark, Format, LineSeparator, NonspacingMark, ParagraphSeparator,
        PrivateUse, SpaceSeparator, SpacingMark, Surrogate, Unassigned,
    };
    match get_general_category(character) {
        Control | Format | LineSeparator | ParagraphSeparator | PrivateUse | SpaceSeparator
        | Surrogate | Unassigned => false,
        EnclosingMark | NonspacingMark | SpacingMark => true,
        // Terminals draw some letters of width 0, for example fillers. Vowels and finals of
        // Hangul combine with the character before them.
        _ => match character {
            '\u{115f}' | '\u{1160}' => false,
            '\u{1161}'..='\u{11ff}' | '\u{d7b0}'..='\u{d7fb}' => true,
            _ => cells_of(character) > 0,
        },
    }
}

/// Number of terminal cells of `text`, which must be [`safe`].
pub fn width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().map(cells_of).sum() }
}

fn cells_of(character: char) -> usize {
    character.width().unwrap_or(0)
}

/// The alignment of a text in its cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Left, for texts.
    Left,
    /// Right, for numbers.
    Right,
}

/// The last character of a text that is cut: the rest could be read as another value.
pub(crate) const CUT_MARK: char = '…';

/// Cuts or pads the part of `line` from byte `start` on to `cells` terminal cells. Returns how
/// many bytes of the part were kept.
pub fn fit(line: &mut String, start: usize, cells: usize, side: Side) -> usize {
    let (mut kept, mut used) = cut(&line[start..], cells);
    let is_cut = cells > 0 && line[start + kept..].bytes().any(|byte| byte != b' ');
    if is_cut {
        (kept, used) = cut(&line[start..], cells - 1);
    }
    line.truncate(start + kept);
    if is_cut {
        line.push(CUT_MARK);
        used += 1;
    }
    match side {
        Side::Left => pad(line, line.len(), cells - used),
        Side::Right => pad(line, start, cells - used),
    }
    kept
}

/// Appends ASCII characters of the same width.
pub(crate) fn push_ascii(line: &mut String, character: char) {
    match character {
        _ if character.is_ascii() => line.push(character),
        CUT_MARK => line.push('+'),
        '✓' => line.push('='),
        '±' => line.push('~'),
        '·' => line.push('.'),
        '▲' => line.push('^'),
        '▼' => line.push('v'),
        '│' | '├' => line.push('|'),
        '└' => line.push('`'),
        '─' => line.push('-'),
        '×' => line.push('x'),
        '▁' | '▂' | '▏' => line.push('_'),
        '▃' | '▄' | '▎' | '▍' => line.push('-'),
        '▅' | '▆' | '▌' | '▋' => line.push('='),
        '▇' | '█' | '▊' | '▉' => line.push('#'),
        _ => line.extend(std::iter::repeat_n('?', cells_of(character))),
    }
}

const SPACES: &str = "                                                                ";

/// Inserts `cells` spaces.
fn pad(line: &mut String, at: usize, mut cells: usize) {
    while cells > 0 {
        let some = cells.min(SPACES.len());
        line.insert_str(at, &SPACES[..some]);
        cells -= some;
    }
}

/// Number of bytes of `text` that fit into `cells`, and how many cells they take.
pub(crate) fn cut(text: &str, cells: usize) -> (usize, usize) {
    if text.is_ascii() {
        let kept = text.len().min(cells);
        return (kept, kept);
    }
    let mut used = 0;
    for (at, character) in text.char_indices() {
        let needs = cells_of(character);
        if used + needs > cells {
            return (at, used);
        }
        used += needs;
    }
    (text.len(), used)
}

/// Appends formatted text.
pub(crate) fn push(line: &mut String, text: Arguments<'_>) {
    line.write_fmt(text).expect("writing to a String never fails");
}

/// Appends a whole number.
pub fn push_integer(line: &mut String, value: i128) {
    match u64::try_from(value) {
        Ok(value) => push_digits(line, value, 1),
        Err(_) => push(line, format_args!("{value}")),
    }
}

/// Appends a number with at least `least` digits. Most cells of a screen are numbers, and
/// `format_args!` runs more code than fits a cold cache.
fn push_digits(line: &mut String, mut value: u64, least: usize) {
    // The number of digits of u64::MAX.
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    while value > 0 {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
    }
    let digits = &digits[at.min(digits.len() - least)..];
    line.push_str(std::str::from_utf8(digits).unwrap_or_default());
}

/// Appends a number, rounded to `digits` digits after the point.
fn push_fixed(line: &mut String, value: f64, digits: u32) {
    let one = 10_u64.pow(digits);
    let parts = (value * one as f64).round();
    // A larger float has no digits after the point.
    if !(0.0..1e15).contains(&parts) {
        return push(line, format_args!("{value:.0$}", digits as usize));
    }
    let parts = parts as u64;
    push_digits(line, parts / one, 1);
    if digits > 0 {
        line.push('.');
        push_digits(line, parts % one, digits as usize);
    }
}

/// Appends a share in per cent.
pub fn push_percent(line: &mut String, value: f64) {
    push_fixed(line, value, 2);
}

/// Appends KiB with a binary unit: `512K`, `1.5G`.
pub fn push_kibibytes(line: &mut String, value: f64) {
    push_binary(line, value, 0);
}

/// Appends events a second.
pub fn push_rate(line: &mut String, value: f64) {
    if value == 0.0 {
        line.push('0');
    } else if value < 10.0 {
        push_fixed(line, value, 1);
    } else if value < 100_000.0 {
        push_fixed(line, value, 0);
    } else {
        push_fixed(line, value / 1000.0, 0);
        line.push('k');
    }
}

/// Appends bytes a second with a binary unit.
pub fn push_bytes_rate(line: &mut String, value: f64) {
    if value < 1024.0 {
        push_fixed(line, value, 0);
    } else {
        push_binary(line, value / 1024.0, 0);
    }
}

fn push_binary(line: &mut String, mut value: f64, mut unit: usize) {
    while value >= 1024.0 && unit < BINARY_UNITS.len() - 1 {
        value /= 1024.0;
        unit += 1;
    }
    push_fixed(line, value, u32::from(value < 100.0 && unit > 0));
    line.push(BINARY_UNITS[unit]);
}

/// Appends the time of day, as `23:59:59`, of seconds of local time since 1970.
pub fn push_time_of_day(line: &mut String, local_s: i64) {
    let (hour, minute) = (local_s.div_euclid(3600).rem_euclid(24), local_s.div_euclid(60));
    let (minute, second) = (minute.rem_euclid(60), local_s.rem_euclid(60));
    push(line, format_args!("{hour:02}:{minute:02}:{second:02}"));
}

/// Appends a duration in whole seconds: `0:05`, `3:49`, `1:02:03`.
pub fn push_minutes(line: &mut String, seconds: f64) {
    let whole = seconds.round() as u64;
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    if hours > 0 {
        push(line, format_args!("{hours}:{minutes:02}:{seconds:02}"));
    } else {
        push(line, format_args!("{minutes}:{seconds:02}"));
    }
}

/// Appends a duration: `4.25s`, `3m12`, `5h07`, `12d03`.
pub fn push_elapsed(line: &mut String, seconds: f64) {
    if seconds < 60.0 {
        push_fixed(line, seconds, 2);
        return line.push('s');
    }
    let whole = seconds as u64;
    let (large, letter, small) = match whole {
        0..3_600 => (whole / 60, 'm', whole % 60),
        3_600..86_400 => (whole / 3600, 'h', whole % 3600 / 60),
        _ => (whole / 86_400, 'd', whole % 86_400 / 3600),
    };
    push_digits(line, large, 1);
    line.push(letter);
    push_digits(line, small, 2);
}
