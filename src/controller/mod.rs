//! The operator: observe, decide, act.
//!
//! One module a kind: [`source`] and [`sink`] are probed ([`probe`] decides for both), [`mapping`] is compiled, [`pipeline`]
//! launches runs. What each decides is a pure function of what was observed and the clock; [`act`] performs it, with one
//! status write a reconcile at the most. [`schedule`], [`names`], [`jobs`], [`template`] and [`claim`] are what
//! decisions are made of.

mod act;
mod claim;
mod jobs;
mod leader;
mod mapping;
mod metrics;
mod names;
mod observe;
mod pipeline;
mod probe;
mod schedule;
mod server;
mod sink;
mod source;
mod start;
mod template;

pub use start::{Options, run};
