//! Mappings: compiled once per run into a [`Plan`], then applied to every record.
//!
//! What a user writes in a `MappingVersion` goes through here in this order:
//!
//! 1. `compile` turns one object of the mapping into a plan, and collects everything that is wrong with it, each with its
//!    path in the user's own YAML. `schema` then holds the plan against the object as the CRM describes it.
//! 2. For every record, `plan` takes each trait's source (a field, or a CEL expression from `cel`), applies the transforms
//!    (`transform`, with `text`, `number`, `money`, `instant`, `phone`, `address`, `iso` and `json` beside it) and fits the result
//!    to the trait's type (`typed`).
//!    What the sink's CDP calls it (`projection`) is settled when the plan is compiled.
//! 3. `fingerprint` says whether what would be delivered differs from the last delivery.
//!
//! Beside that, [`diff`] compares two versions of a mapping, and [`lifecycle`] says what the calendar makes of one.
//! `identity` has what the plan knows of a record's keys, for [`crate::identity`] to judge.
//!
//! The same record and mapping give the same bytes, on every machine: nothing here reads a clock, a locale or the
//! machine's own time zone database.

mod address;
mod cel;
mod compatibility;
mod compile;
pub mod diff;
mod error;
mod fields;
mod fill;
mod fingerprint;
mod identity;
mod instant;
mod iso;
mod json;
pub mod lifecycle;
mod money;
mod number;
mod phone;
mod plan;
mod projection;
mod purpose;
mod schema;
#[cfg(test)]
mod tests;
mod text;
mod transform;
mod typed;
mod value;

pub use compatibility::{Finding, Touched, findings, touched};
pub(crate) use error::did_you_mean;
pub use error::{CompileError, Rejection};
pub use fill::Filled;
pub use plan::Plan;
pub use value::{ExternalId, Mapped, MappedEvent, Money, Trigger, Value};
