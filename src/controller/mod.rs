//! The operator: observe, decide, act.
//!
//! In the order in which data passes: [`watch`] keeps the [`cache`] true to the API server, which holds Jobs and Pods as
//! [`light`] as they are asked for; what changes is [`queue`]d; and a module a kind reconciles it: [`source`] and [`sink`] are
//! probed ([`probe`] decides for both), [`mapping`] is compiled, [`pipeline`] launches runs. What each decides is a pure function
//! of what was observed and the clock; [`act`] performs it, with one status write a reconcile at the most. [`schedule`],
//! [`admission`], [`names`], [`jobs`], [`template`] and [`claim`] are what decisions are made of. [`leader`] sees to it that one
//! process acts. [`errand`] is a Job that the command line makes, with what a run's has.

mod act;
mod admission;
mod cache;
mod calls;
mod claim;
#[cfg(test)]
mod day;
pub(crate) mod errand;
#[cfg(test)]
mod fake_api;
pub(crate) mod inquire;
pub(crate) mod jobs;
mod key;
mod leader;
pub(crate) mod light;
mod mapping;
mod metrics;
mod names;
mod observe;
mod outcome;
mod pipeline;
mod probe;
mod queue;
pub(crate) mod schedule;
mod server;
mod sink;
mod source;
mod start;
mod template;
mod undecodable;
mod watch;

pub use start::{Options, run};
