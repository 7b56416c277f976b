//! [`Model`] → [`Table`].

use super::model::Model;
use super::table::Table;

/// Compiles a validated policy. The same model gives the same table and digest.
#[must_use]
pub fn compile(model: &Model) -> Table {
    let _ = model;
    Table {}
}
