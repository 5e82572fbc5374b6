//! The line of views above the headings: the one that is shown is in reverse.

use crate::line::{ScreenLine, Style};
use crate::text;

/// Screens with fewer lines have no tabs.
pub(crate) const LEAST_HEIGHT: usize = 20;

/// The views that one can go to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tabs {
    /// Their names, in words; without any there is no line.
    pub names: Vec<String>,
    /// Which one is shown.
    pub shown: Option<usize>,
}

impl Tabs {
    /// Lines that they take on a screen of this height.
    pub(crate) fn height(&self, height: usize) -> usize {
        usize::from(!self.names.is_empty() && height >= LEAST_HEIGHT)
    }

    /// The line, and the cell after each name that fits.
    pub(crate) fn line(&self, cells: usize) -> (ScreenLine, Vec<usize>) {
        let mut line = ScreenLine::default();
        let mut ends = Vec::with_capacity(self.names.len());
        for (at, name) in self.names.iter().enumerate() {
            let label = format!(" {} ", text::safe(name));
            if text::width(&line.text) + text::width(&label) > cells {
                break;
            }
            let is_shown = self.shown == Some(at);
            line.push(&label, if is_shown { Style::Reverse } else { Style::Dim });
            ends.push(text::width(&line.text));
        }
        line.fit(cells);
        (line, ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tabs_end_where_the_line_does() {
        let names = ["Main", "Waits", "I/O"].map(str::to_owned).to_vec();
        let tabs = Tabs { names, shown: Some(1) };
        let (line, ends) = tabs.line(40);
        assert_eq!(line.text.trim_end(), " Main  Waits  I/O");
        assert_eq!(ends, [6, 13, 18]);
        let reverse: Vec<_> =
            line.parts().filter(|(_, style)| *style == Style::Reverse).map(|(t, _)| t).collect();
        assert_eq!(reverse, [" Waits "]);
        assert_eq!(tabs.line(15).1, [6, 13], "a name is whole or not there");
        assert_eq!((tabs.height(LEAST_HEIGHT), tabs.height(LEAST_HEIGHT - 1)), (1, 0));
        assert_eq!(Tabs::default().height(60), 0);
    }
}
