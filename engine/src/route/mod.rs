//! Head to route, pure.

mod paths;
mod rewrite;
mod settings;
mod table;
mod template;

pub use rewrite::rewrite;
pub use settings::*;
pub use table::{Allow, Match, Route, Table, TableError};
pub use template::TemplateError;
