//! The fleet: how many executors there are, and which of them end.
//!
//! [`View::of`] puts together what the cloud lists and what the ownership machine knows, [`plan`] decides, pool by
//! pool, and `apply` does it. Launches are journalled before they are made (`launches`): an executor that is asked for
//! goes by a name of ours until the cloud has said its id.

mod apply;
mod attempts;
mod launches;
mod plan;
mod view;

#[cfg(test)]
mod tests;

pub use apply::{Fleet, Pool};
pub(crate) use launches::hash;
pub use plan::{Action, Policy, Why, plan};
#[cfg(test)]
pub(crate) use view::lost;
pub use view::{Listing, Seen, Standing, View};
