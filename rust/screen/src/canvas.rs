//! What is on a terminal, so that only what changes is written.

use crate::screen::{Line, Lines, Style};

/// What a terminal takes as orders.
#[derive(Clone, Debug, Default)]
pub struct Sequences {
    /// Clears it.
    pub clear: String,
    /// Goes to the begin of a line, for each line of the screen.
    pub lines: Vec<String>,
    /// Begins bold text.
    pub bold: String,
    /// Begins reversed text.
    pub reverse: String,
    /// Ends either.
    pub normal: String,
}

/// A terminal's screen.
#[derive(Debug)]
pub struct Canvas {
    sequences: Sequences,
    shown: Vec<Line>,
    /// What was to be written last; kept for its memory.
    text: String,
}

impl Canvas {
    /// Of which nothing is known.
    pub fn new(sequences: Sequences) -> Canvas {
        Canvas { sequences, shown: Vec::new(), text: String::new() }
    }

    /// What has to be written so that these lines are on the screen.
    pub fn draw(&mut self, screen: &Lines) -> &str {
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
