//! The content of a terminal, so that only changed lines are written.

use crate::line::{ScreenLine, ScreenLines, Style};

/// Control sequences of a terminal.
#[derive(Clone, Debug, Default)]
pub struct ControlSequences {
    /// Clears the terminal.
    pub clear: String,
    /// For each line of the screen, moves the cursor to its start.
    pub lines: Vec<String>,
    /// Starts bold text.
    pub bold: String,
    /// Starts reversed text.
    pub reverse: String,
    /// Ends bold or reversed text.
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
            let style = match line.style {
                Style::Plain => "",
                Style::Bold => &self.sequences.bold,
                Style::Reverse => &self.sequences.reverse,
            };
            text.push_str(style);
            text.push_str(&line.text);
            if !style.is_empty() {
                text.push_str(&self.sequences.normal);
            }
        }
        text
    }
}
