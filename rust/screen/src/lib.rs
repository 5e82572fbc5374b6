//! Intervals of Linux task accounting as lines of text: pure, without clock, terminal or
//! I/O.
//!
//! ```text
//! text (numbers and names) -> table (rows and columns) -> head + foot -> screen
//! canvas: of a screen, only what is not on the terminal yet
//! ```
//!
//! Design decisions
//!
//! * What is shown once a second finds cold caches, where every line of code that is run and
//!   every object that is touched costs its way from memory. So a screen is made from an
//!   interval in one call, with nothing in between that others could see.

#![forbid(unsafe_code)]

pub mod canvas;
mod foot;
mod head;
pub mod screen;
pub mod table;
pub mod text;

pub use canvas::{Canvas, Sequences};
pub use head::missing;
pub use screen::{Choice, Line, Lines, Style, View};
pub use table::{Column, Form, Table, Users};
