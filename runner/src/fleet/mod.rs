//! The fleet: how many executors there are, and which of them end.
//!
//! [`View::of`] puts together what the cloud lists and what the ownership machine knows, [`plan`] decides, and
//! `apply` does it.

mod apply;
mod plan;
mod view;

#[cfg(test)]
mod tests;

pub use apply::Fleet;
pub(crate) use apply::hash;
pub use plan::{Action, Policy, Why, plan};
#[cfg(test)]
pub(crate) use view::lost;
pub use view::{Seen, Standing, View};
