//! Mappings: compiled once per run into a [`Plan`], then applied to every record.
//!
//! What a user writes in a `MappingVersion` goes through here in this order:
//!
//! 1. `compile` turns one object of the mapping into a plan, and collects everything that is wrong with it, each with its
//!    path in the user's own YAML. `schema` then holds the plan against the object as the CRM describes it.
//! 2. For every record, `plan` takes each trait's source (a field, or a CEL expression from `cel`), applies the transforms
//!    (`transform`, with `phone`, `number` and `instant` beside it) and fits the result to the trait's type (`typed`).
//! 3. `fingerprint` says whether what would be delivered differs from the last delivery.
//!
//! The same record and mapping give the same bytes, on every machine: nothing here reads a clock, a locale or the
//! machine's own time zone database.

mod cel;
mod compile;
mod error;
mod fields;
mod fingerprint;
mod instant;
mod number;
mod phone;
mod plan;
mod purpose;
mod schema;
#[cfg(test)]
mod tests;
mod transform;
mod typed;
mod value;

pub use error::{CompileError, Rejection};
pub use plan::Plan;
pub use value::{Mapped, MappedEvent, Trigger, Value};
