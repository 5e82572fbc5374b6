//! The content of a terminal, so that only changed lines are written.

use crate::line::{ScreenLine, ScreenLines};

/// Control sequences of a terminal.
#[derive(Clone, Debug, Default)]
pub struct ControlSequences {
    /// Clears the terminal.
    pub clear: String,
    /// For each line of the screen, moves the cursor to its start.
    pub lines: Vec<String>,
    /// Starts text of each style, in the order of [`Style::ALL`](crate::Style::ALL).
    pub styles: Vec<String>,
    /// Ends styled text.
    pub normal: String,
}

/// The content of a terminal.
#[derive(Debug)]
pub struct Canvas {
    sequences: ControlSequences,
    shown: Vec<ScreenLine>,
    /// The last return value of [`Canvas::draw`]; its memory is used again.
    text: String,
}

impl Canvas {
    /// A terminal whose content is unknown.
    pub fn new(sequences: ControlSequences) -> Canvas {
        Canvas { sequences, shown: Vec::new(), text: String::new() }
    }

    /// The bytes to write so that the terminal shows these lines.
    pub fn draw(&mut self, screen: &ScreenLines) -> &str {
        let text = &mut self.text;
        text.clear();
        if self.shown.is_empty() {
            text.push_str(&self.sequences.clear);
        }
        for (row, (line, begin)) in screen.lines.iter().zip(&self.sequences.lines).enumerate() {
            match self.shown.get_mut(row) {
                Some(shown) if shown == line => continue,
                Some(shown) => shown.clone_from(line),
                None => self.shown.push(line.clone()),
            }
            text.push_str(begin);
            for (part, style) in line.parts() {
                let sequence = self.sequences.styles.get(style as usize).map_or("", String::as_str);
                text.push_str(sequence);
                text.push_str(part);
                if !sequence.is_empty() {
                    text.push_str(&self.sequences.normal);
                }
            }
        }
        text
    }
}
