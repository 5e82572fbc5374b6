//! Intervals of Linux task accounting as lines of text: pure, without clock, terminal or
//! I/O.
//!
//! ```text
//! text (numbers and names) -> table (rows and columns) -> view (values) -> head, foot -> screen
//! rows, row_key (tasks and groups), selection (which one), line (text with styles)
//! tree <- laid_out (the tree of an interval, which keys use again)
//! canvas: the lines of a screen that differ from those on the terminal
//! ```
//!
//! Design decisions
//!
//! * A screen is drawn once a second and finds cold CPU caches, so each line of code and
//!   each object costs a load from memory. One call draws a whole screen, without
//!   intermediate objects for callers.

#![forbid(unsafe_code)]

pub mod canvas;
pub mod command;
pub mod find;
mod foot;
mod head;
pub mod laid_out;
pub mod line;
pub mod meters;
pub mod plain;
pub mod row_key;
pub mod rows;
pub mod samples;
pub mod screen;
pub mod selection;
pub mod settings;
mod spark;
pub mod table;
pub mod tabs;
pub mod text;
pub mod tree;
pub mod view;
pub mod waits;

pub use canvas::{Canvas, ControlSequences};
pub use command::Names;
pub use find::find;
pub use laid_out::{LaidOut, Made, ShownTree};
pub use line::{ScreenLine, ScreenLines, Span, Sparks, Style};
pub use plain::plain_lines;
pub use row_key::{Fate, RowKey};
pub use rows::{TableRow, ViewRows};
pub use samples::Samples;
pub use screen::draw;
pub use selection::Remembered;
pub use settings::{Meter, TreeOf, TreeSettings, ViewSettings};
pub use table::{CellFormat, TextColumn, TextTable};
pub use tabs::Tabs;
pub use view::{Heights, ShownRow, ViewData, left_out, missing};
