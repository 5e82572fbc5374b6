//! Bars in text: one character a value, or one value over several cells.

/// Characters of growing height.
const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Characters of growing width.
const WIDTHS: [char; 7] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/// The character whose height is `share` of a line.
pub(crate) fn bar(share: f64) -> char {
    let at = (share * HEIGHTS.len() as f64).ceil() as usize;
    HEIGHTS[at.clamp(1, HEIGHTS.len()) - 1]
}

/// Appends values, the oldest first, each as its share of `most`; what is too small to be seen is
/// a point.
pub(crate) fn push_values(text: &mut String, values: impl Iterator<Item = f64>, most: f64) {
    text.extend(values.map(|value| {
        let share = if most > 0.0 { value / most } else { 0.0 };
        if share < 0.005 { '·' } else { bar(share) }
    }));
}

/// Appends a bar of `share` of `cells` cells after a space; nothing for what is too short to be
/// seen.
pub(crate) fn push_meter(text: &mut String, share: f64, cells: usize) {
    let begin = text.len();
    text.push(' ');
    if push_cells(text, share, cells) == 0 {
        text.truncate(begin);
    }
}

/// Appends a bar of `share` of `cells` cells, in eighths of a cell. Returns how many cells it has.
pub(crate) fn push_cells(text: &mut String, share: f64, cells: usize) -> usize {
    let eighths = (share.clamp(0.0, 1.0) * cells as f64 * 8.0).round() as usize;
    text.extend(std::iter::repeat_n('█', eighths / 8));
    text.extend((eighths % 8).checked_sub(1).map(|rest| WIDTHS[rest]));
    eighths.div_ceil(8)
}
