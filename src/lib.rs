//! Ferrygate keeps customer data platforms true to the CRM.
//!
//! The library behind the `ferrygate` binary. [`api`] holds the four custom resources; [`controller`] reconciles them;
//! [`worker`] is what a Job runs: [`source`] → [`mapping`] → [`consent`] → [`sink`], with its [`state`] kept aside.

pub mod api;
pub mod catalog;
pub mod cli;
pub mod cluster;
pub mod consent;
pub mod controller;
pub mod http;
pub mod identity;
pub mod mapping;
pub mod record;
pub mod secrets;
pub mod sink;
pub mod source;
pub mod state;
pub mod worker;
