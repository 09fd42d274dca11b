//! What Ferrygate is tested with: a local Kubernetes cluster built from packages, simulators of the CRMs and the CDPs,
//! and the end-to-end tests that join them to the operator.

pub mod bench;
pub mod cluster;
pub mod control_plane;
pub mod demo;
pub mod gitops;
pub mod image;
pub mod operator;
pub mod packages;
pub mod progress;
pub mod simulators;
pub mod suite;
pub mod tenant;
