//! The runner's own side of GitLab: asking for jobs, and speaking for those that no agent has.

mod attend;
mod clients;
mod end;
mod poll;
mod rotation;
mod slots;
mod voice;
mod wish;

pub use clients::Clients;
pub(crate) use poll::entry_is_gone;
pub use poll::{Intake, verify};
pub use rotation::{Current, Rotation, newest};
pub use slots::{Slot, Slots};
pub use voice::Voice;
